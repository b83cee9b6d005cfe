"""A convolution that learns at a rate of its own."""

from typing import Any

from torch import nn


class RatedConv2d(nn.Conv2d):
    """torch.nn.Conv2d whose weight and bias learn at `lr_mult` times the base rate.

    torch_port.training.parameter_groups reads `lr_mult` off any module that has it.
    Source: MXNet copies a node's lr_mult attribute to the variables it creates, weight and bias alike.
    """

    lr_mult: float

    def __init__(self, *args: Any, lr_mult: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.lr_mult = lr_mult
