"""A convolution that learns at rates of its own."""

from typing import Any

from torch import nn


class RatedConv2d(nn.Conv2d):
    """torch.nn.Conv2d whose weight and bias learn at `lr_mult` times the base rate, or the bias at `bias_lr_mult` times it.

    torch_port.training.parameter_groups reads `lr_mult`, and before it `weight_lr_mult` and `bias_lr_mult`, off any module
    that has them.
    Source: MXNet copies a node's lr_mult attribute to the variables it creates, weight and bias alike; DeepLab's symbols
    give their variables multipliers of their own.
    """

    lr_mult: float
    bias_lr_mult: float

    def __init__(self, *args: Any, lr_mult: float = 1.0, bias_lr_mult: float | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.lr_mult = lr_mult
        if bias_lr_mult is not None:
            self.bias_lr_mult = bias_lr_mult
