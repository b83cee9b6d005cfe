"""Deformable convolutions: with offsets handed in, and with offsets they predict themselves."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from dcn_tasks.errors import InputError
from torch_port import ops
from torch_port.layers.rated_conv import RatedConv2d

Size = int | tuple[int, int]


def pair(value: Size) -> tuple[int, int]:
    """One number for both axes, or (vertical, horizontal) as it is."""
    return (value, value) if isinstance(value, int) else value


class DeformableConvolution(nn.Module):
    """What the four layers of this file share: weight, bias, geometry and the border rule; has no forward of its own.

    Like torch.nn.Conv2d, they also take one image without its batch axis: [C, H, W], and then offsets, masks and the
    output have none either.

    Args:
        in_channels, out_channels: C, F.
        kernel_size, stride, padding, dilation: as torch.nn.Conv2d, in pixels; one number or (vertical, horizontal).
        groups: weight groups; the weight is [F, C/groups, kh, kw].
        offset_groups: G; C/G consecutive channels share their offsets.
        bias: whether there is one; the original networks have none.
        border: "clamp" is MXNet's DeformableConvolution, "zeros" the torchvision rule; None: the layer's own default.
    Raises: InputError when a group count does not divide its channels.
    """

    default_border = "clamp"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        offset_groups: int = 1,
        bias: bool = False,
        *,
        border: str | None = None,
    ):
        super().__init__()
        for name, count, channels in (
            ("groups", groups, in_channels),
            ("groups", groups, out_channels),
            ("offset_groups", offset_groups, in_channels),
        ):
            if count < 1 or channels % count:
                raise InputError(
                    f"{type(self).__name__}: expected {name} to divide {channels} channels, got {name}={count}: "
                    "choose a divisor"
                )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = pair(kernel_size), pair(stride)
        self.padding, self.dilation = pair(padding), pair(dilation)
        self.groups, self.offset_groups = groups, offset_groups
        self.border = border or self.default_border
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """MSRA initialisation (He et al. 2015): N(0, sqrt(2 / fan_in)); bias 0."""
        fan_in = self.weight[0].numel()
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_in))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def taps(self) -> int:
        """K, the number of kernel taps."""
        return self.kernel_size[0] * self.kernel_size[1]

    def predictor(self, numbers_per_tap: int, lr_mult: float, geometry: dict[str, int] | None) -> RatedConv2d:
        """The zero-initialised convolution that predicts so many numbers for every tap of every offset group."""
        layer = RatedConv2d(
            self.in_channels,
            numbers_per_tap * self.taps * self.offset_groups,
            self.kernel_size,
            self.stride,
            padding=(geometry or {}).get("padding", self.padding),
            dilation=(geometry or {}).get("dilation", self.dilation),
            lr_mult=lr_mult,
        )
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        return layer

    def sample(self, input: Tensor, offset: Tensor) -> Tensor:
        """The operator without a mask."""
        if input.dim() == 3:
            return self.sample(input[None], offset[None])[0]
        geometry = (self.stride, self.padding, self.dilation)
        return ops.deform_conv2d(input, offset, self.weight, self.bias, *geometry, border=self.border)

    def sample_masked(self, input: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """The operator with a mask."""
        if input.dim() == 3:
            return self.sample_masked(input[None], offset[None], mask[None])[0]
        geometry = (self.stride, self.padding, self.dilation)
        return ops.modulated_deform_conv2d(input, offset, mask, self.weight, self.bias, *geometry, border=self.border)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, "
            f"offset_groups={self.offset_groups}, bias={self.bias is not None}, border={self.border!r}"
        )


class DeformConv2d(DeformableConvolution):
    """Convolution that samples at learned offsets (Dai et al. 2017, eq. 2); the offsets come from outside.

    With zero offsets it is torch.nn.Conv2d with the same weight, so a trained convolution's weight fits unchanged.
    Arguments as DeformableConvolution.
    Source: MXNet 1.9.1 _contrib_DeformableConvolution.
    """

    def forward(self, input: Tensor, offset: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F, OH, OW]; offset [N, 2*G*K, OH, OW] in pixels: y, x, tap by tap, group by group."""
        return self.sample(input, offset)


class ModulatedDeformConv2d(DeformableConvolution):
    """Deformable convolution whose samples are also multiplied by a mask (DCNv2, Zhu et al. 2019, eq. 1).

    Arguments as DeformableConvolution; the default border is "zeros", which DCNv2's operator and MXNet's have.
    Source: MXNet 1.9.1 _contrib_ModulatedDeformableConvolution.
    """

    default_border = "zeros"

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F, OH, OW]; offset [N, 2*G*K, OH, OW] in pixels; mask [N, G*K, OH, OW], used as it is."""
        return self.sample_masked(input, offset, mask)


class DeformConv2dPack(DeformableConvolution):
    """A deformable convolution in the place of a torch.nn.Conv2d: `offset_conv` predicts its offsets from its input.

    Zero-initialised, so that at first it is the convolution it replaces.

    Args:
        offset_lr_mult: learning-rate multiplier of the offset convolution, kept as `offset_conv.lr_mult`, which
            torch_port.training reads; 1 in the original detection networks.
        offset_geometry: padding and dilation of the offset convolution where they differ from the convolution's own
            (the original's DeepLab and FPN: {"padding": 1, "dilation": 1}).
        others: as DeformableConvolution.
    Source: the original's res5a_branch2b_offset and res5a_branch2b.
    """

    def __init__(
        self, *args: Any, offset_lr_mult: float = 1.0, offset_geometry: dict[str, int] | None = None, **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        self.offset_conv = self.predictor(2, offset_lr_mult, offset_geometry)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F, OH, OW]."""
        return self.sample(input, self.offset_conv(input))


class ModulatedDeformConv2dPack(DeformableConvolution):
    """A modulated deformable convolution that predicts its offsets and its mask with one zero-initialised convolution.

    `offset_conv` has 3*K*G channels: the first 2*K*G are the offsets, the last K*G pass mask = 2 * sigmoid(m). The
    factor 2 makes the first mask 1, so that the layer starts as the convolution it replaces; many other
    implementations leave it out and start at 0.5: `mask_scale=1.0`, or load their weights with
    torch_port.layers.load_peer_state, which sees to it.

    Args:
        offset_lr_mult: as DeformConv2dPack; 0.1 in the original's example.
        mask_scale: the factor before the sigmoid.
        others: as DeformConv2dPack; the default border is "zeros".
    Source: DCNv2_op/example_symbol.py of the original.
    """

    default_border = "zeros"

    def __init__(
        self,
        *args: Any,
        offset_lr_mult: float = 0.1,
        offset_geometry: dict[str, int] | None = None,
        mask_scale: float = 2.0,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.mask_scale = mask_scale
        self.offset_conv = self.predictor(3, offset_lr_mult, offset_geometry)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F, OH, OW]."""
        samples = self.taps * self.offset_groups
        offset, mask = self.offset_conv(input).split((2 * samples, samples), dim=-3)
        return self.sample_masked(input, offset, self.mask_scale * torch.sigmoid(mask))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mask_scale={self.mask_scale:g}"
