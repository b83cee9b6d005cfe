"""A fully connected layer on feature maps."""

from torch import Tensor, nn


class FullyConnected(nn.Linear):
    """torch.nn.Linear on everything but the first axis: [N, ...] -> [N, out_features], elements in the order C, H, W.

    Args:
        in_features: product of the other extents. out_features: of the result.
        lr_mult: weight and bias learn at so many times the base rate (torch_port.training.parameter_groups reads it).
    Source: MXNet FullyConnected(flatten=True).
    """

    def __init__(self, in_features: int, out_features: int, *, lr_mult: float = 1.0):
        super().__init__(in_features, out_features)
        self.lr_mult = lr_mult

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(1))
