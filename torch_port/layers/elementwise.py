"""Arithmetic steps that are nodes of the original graphs, as modules, so that hooks see their inputs and outputs."""

import torch
from torch import Tensor, nn


class Add(nn.Module):
    """a + b, the residual sum of two tensors of one shape.

    Args: inplace: write the sum into b, for inference where nobody reads b again.
    Source: MXNet broadcast_add.
    """

    def __init__(self, *, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return b.add_(a) if self.inplace else a + b


class Concat(nn.Module):
    """Maps side by side: [N, C1, H, W], [N, C2, H, W], .. -> [N, C1 + C2 + .., H, W], or along another axis.

    Source: MXNet Concat(dim).
    """

    def __init__(self, dim: int = 1):
        super().__init__()
        self.dim = dim

    def forward(self, *maps: Tensor) -> Tensor:
        return torch.cat(maps, dim=self.dim)


class ChannelSoftmax(nn.Module):
    """Softmax over `classes` groups of channels.

    Channel c*A + a holds class c of anchor a: [N, classes*A, H, W] -> the same shape, where the values of one anchor at
    one position sum to 1. With classes=None all channels compete, for [N, C] or [N, C, H, W].

    Args:
        classes: number of classes that compete; None: as many as there are channels.
    Source: MXNet SoftmaxActivation(mode="channel") between the reshapes (0, classes, -1, 0) and (0, channels, -1, 0).
    """

    def __init__(self, classes: int | None = None):
        super().__init__()
        self.classes = classes

    def forward(self, input: Tensor) -> Tensor:
        if self.classes is None:
            return torch.softmax(input, dim=1)
        grouped = input.unflatten(1, (self.classes, -1))
        return torch.softmax(grouped, dim=1).flatten(1, 2)

    def extra_repr(self) -> str:
        return "" if self.classes is None else f"classes={self.classes}"
