"""Batch normalisation with MXNet's conventions."""

import struct

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """Batch normalisation over N, H, W of [N, C, H, W], as MXNet 1.9.1's BatchNorm does it.

    Differs from torch.nn.BatchNorm2d in three things: `use_global_stats` keeps the moving statistics in use during
    training too (frozen); `momentum` is the share of the *old* statistic that is kept (PyTorch's is the new one's);
    the moving variance takes the biased (population) variance of the batch, PyTorch the unbiased one. MXNet updates the
    moving statistics in its backward pass, this module in forward: the same after every whole step.

    Args:
        channels: C.
        eps: added to the variance; the original networks use 1e-5 (MXNet's own default is 1e-3).
        momentum: share of the old moving statistic kept at each update, rounded to float32 as MXNet stores it.
        use_global_stats: always normalise by the moving statistics and never update them.
    Source: MXNet 1.9.1 BatchNorm with fix_gamma=False; both modes compared live in tests/layers/test_batch_norm.py.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.9, use_global_stats: bool = True):
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.momentum = struct.unpack("f", struct.pack("f", momentum))[0]
        self.use_global_stats = use_global_stats
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        if self.use_global_stats or not self.training:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        self.update_moving_statistics(input.detach())
        return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)

    @torch.no_grad()
    def update_moving_statistics(self, input: Tensor) -> None:
        """moving = momentum * moving + (1 - momentum) * batch, with the biased batch variance."""
        variance, mean = torch.var_mean(input, dim=(0, 2, 3), correction=0)
        self.running_mean.mul_(self.momentum).add_(mean, alpha=1 - self.momentum)
        self.running_var.mul_(self.momentum).add_(variance, alpha=1 - self.momentum)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, use_global_stats={self.use_global_stats}"
