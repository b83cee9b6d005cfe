"""torchvision's deformable convolution, name for name: change the import and nothing else.

`deform_conv2d` and `DeformConv2d` have torchvision 0.28's signatures, state dicts and results, forward and backward
(tests/ops/test_torchvision_compat.py: against values recorded from it, and against itself where it is installed).
One thing differs: at a position of exactly -1 on one axis, where the value is 0 from either side of the rule,
torchvision's offset gradient is the slope towards the map; here it is 0, as in the DCNv2 original (pytorch/vision#6885).
Beyond torchvision: one image without its batch axis, every derivative, float32 positions under autocast, channels_last
out of channels_last.
"""

import math

import torch
from torch import Tensor, nn

from torch_port import ops
from torch_port.ops.shapes import pair

Size = int | tuple[int, int]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    """Deformable convolution with torchvision's rule outside the map; modulated where there is a mask.

    Args:
        input: [N, C, H, W] or [C, H, W].
        offset: [N, 2*G*K, OH, OW] in pixels, y first, tap by tap, group by group; without N where input has none.
        weight: [O, C/groups, kh, kw].
        bias: [O].
        stride, padding, dilation: one number or (vertical, horizontal).
        mask: [N, G*K, OH, OW], as offset.
    Returns: [N, O, OH, OW], or [O, OH, OW].
    Raises: RuntimeError that names the argument, what was expected and what came.
    Source: torchvision 0.28 `ops.deform_conv2d`; differs: the offset gradient at exactly -1.
    """
    if input.dim() == 3:
        its_mask = None if mask is None else mask[None]
        return deform_conv2d(input[None], offset[None], weight, bias, stride, padding, dilation, its_mask)[0]
    geometry = (stride, padding, dilation)
    if mask is None:
        return ops.deform_conv2d(input, offset, weight, bias, *geometry, border="zeros")
    return ops.modulated_deform_conv2d(input, offset, mask, weight, bias, *geometry, border="zeros")


class DeformConv2d(nn.Module):
    """`deform_conv2d` with its weight and bias; offsets and mask come from outside.

    Args:
        in_channels, out_channels: C, O. kernel_size, stride, padding, dilation: as torch.nn.Conv2d.
        groups: weight groups. bias: whether there is one.
    Raises: ValueError where groups does not divide both channel counts.
    Source: torchvision 0.28 `ops.DeformConv2d`: the same arguments, parameters, initialisation and repr.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(
                    f"DeformConv2d: expected groups to divide {name}, got {name}={channels}, groups={groups}"
                )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = pair("kernel_size", kernel_size), pair("stride", stride)
        self.padding, self.dilation = pair("padding", padding), pair("dilation", dilation)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """torch.nn.Conv2d's initialisation."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """As deform_conv2d."""
        return deform_conv2d(input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask)

    def extra_repr(self) -> str:
        defaults = (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1))
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"{name}={getattr(self, name)}" for name, value in defaults if getattr(self, name) != value]
        return ", ".join([*parts, *(["bias=False"] if self.bias is None else [])])
