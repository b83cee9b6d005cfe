"""One convolution for the maps of several levels."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SharedConv2d(nn.Module):
    """A convolution applied to every level of a pyramid; `weight` and `bias` are its own, each level is a submodule.

    The submodules hold no parameters; they are there so that hooks see every level's input and output.

    Args:
        in_channels, out_channels: C, F. kernel_size: odd, pixels; the map keeps its size.
        levels: names of the submodules, in the order of the maps.
    Source: the original's rpn_conv_p2 .. rpn_conv_p6, which share rpn_conv_weight and rpn_conv_bias.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, levels: Sequence[str]):
        super().__init__()
        self.padding = kernel_size // 2
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.weight, std=math.sqrt(2 / self.weight[0].numel()))
        for level in levels:
            self.add_module(level, AtLevel(self))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps [N, C, H, W] of the levels -> [N, F, H, W] of the levels."""
        return [layer(each) for layer, each in zip(self.children(), maps, strict=True)]

    def extra_repr(self) -> str:
        out_channels, in_channels, side, _ = self.weight.shape
        return f"{in_channels}, {out_channels}, kernel_size={side}, padding={self.padding}"


class AtLevel(nn.Module):
    """The shared convolution at one level."""

    def __init__(self, shared: SharedConv2d):
        super().__init__()
        self.shared = (shared,)  # in a tuple: not a submodule of its own submodule

    @property
    def weight(self) -> nn.Parameter:
        return self.shared[0].weight

    @property
    def bias(self) -> nn.Parameter:
        return self.shared[0].bias

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F, H, W]."""
        return F.conv2d(input, self.weight, self.bias, padding=self.shared[0].padding)
