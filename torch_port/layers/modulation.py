"""What stands between a modulated deformable convolution and the convolution that guides it, node by node."""

import torch
from torch import Tensor, nn

OFFSETS, SAMPLES = 2 * 9, 9  # channels of one offset group of a 3x3 kernel


class ChannelSlice(nn.Module):
    """Channels `begin` to `end`, the latter not included: [N, C, ...] -> [N, end - begin, ...]. Source: MXNet slice_axis."""

    def __init__(self, begin: int, end: int):
        super().__init__()
        self.begin, self.end = begin, end

    def forward(self, input: Tensor) -> Tensor:
        return input[:, self.begin : self.end]

    def extra_repr(self) -> str:
        return f"{self.begin}, {self.end}"


class Sigmoid(nn.Module):
    """1 / (1 + exp(-x)). Source: MXNet Activation(act_type="sigmoid")."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.sigmoid(input)


class Scale(nn.Module):
    """`factor` times the input. Source: MXNet _mul_scalar."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, input: Tensor) -> Tensor:
        return self.factor * input

    def extra_repr(self) -> str:
        return f"{self.factor}"


class Modulation(nn.Module):
    """Offsets and masks of a 3x3 modulated deformable convolution, from 27 channels per offset group.

    [N, 27*G, H, W] -> offset [N, 18*G, H, W] in pixels, mask [N, 9*G, H, W] = 2 * sigmoid, so that zeros give masks of 1.
    Source: DCNv2_op/example_symbol.py of the original, which has G = 1; for more groups all offsets come first.
    """

    def __init__(self, offset_groups: int):
        super().__init__()
        offsets, samples = OFFSETS * offset_groups, SAMPLES * offset_groups
        self.offset_slice = ChannelSlice(0, offsets)
        self.mask_slice = ChannelSlice(offsets, offsets + samples)
        self.sigmoid = Sigmoid()
        self.twice = Scale(2.0)

    def forward(self, guides: Tensor) -> tuple[Tensor, Tensor]:
        return self.offset_slice(guides), self.twice(self.sigmoid(self.mask_slice(guides)))
