"""The losses of the original training graphs, as scalars whose gradient is the one that MXNet's loss operators inject.

MXNet's SoftmaxOutput and MakeLoss ignore the gradient that comes from above and put their own in its place; their
outputs are probabilities and loss maps, not losses. Here every loss returns both: that output, and a scalar whose
ordinary gradient is what MXNet injects. Backward from the sum of the scalars is MXNet's backward.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED_LABEL = -1


class LossTerm(NamedTuple):
    """output: what the MXNet operator returns, detached. scalar: [] the loss to call backward on."""

    output: Tensor
    scalar: Tensor


class SoftmaxOutput(nn.Module):
    """Softmax and cross-entropy over the labels that are not ignored: gradient (p - onehot) / max(number of such labels, 1).

    Args: ignore_label: -1 in detection, 255 in segmentation.
    Source: MXNet 1.9.1 SoftmaxOutput(normalization="valid", use_ignore=True, ignore_label), also with multi_output.
    """

    def __init__(self, ignore_label: int = IGNORED_LABEL):
        super().__init__()
        self.ignore_label = ignore_label

    def forward(self, logits: Tensor, label: Tensor) -> LossTerm:
        """logits [N, C] or [N, C, ...], label [N] or [N, ...] in {0, ..., C-1, ignored} -> (probabilities, loss)."""
        logits, label = at_least_float32(logits), label.long()
        log_prob = F.log_softmax(logits, dim=1)
        # MXNet divides in float32 whatever the data type, and 1/6 in float32 is not 1/6 in float64
        scale = 1 / (label != self.ignore_label).sum().clamp(min=1).float()
        total = F.nll_loss(log_prob, label, ignore_index=self.ignore_label, reduction="sum")
        return LossTerm(torch.softmax(logits.detach(), dim=1), total * scale.to(total.dtype))

    def extra_repr(self) -> str:
        return f"ignore_label={self.ignore_label}"


class SmoothL1Loss(nn.Module):
    """weight * smooth_l1(prediction - target), summed times a constant.

    smooth_l1(x) = 0.5 (sigma x)^2 where |x| < 1 / sigma^2, else |x| - 0.5 / sigma^2.

    Args:
        sigma: 3 for the RPN, 1 for the head. grad_scale: 1 / RPN_BATCH_SIZE or 1 / RoIs per image; the divisor does not
            count positives.
    Source: MXNet 1.9.1 smooth_l1(scalar=sigma) and MakeLoss(grad_scale).
    """

    def __init__(self, *, sigma: float, grad_scale: float):
        super().__init__()
        self.sigma = sigma
        self.grad_scale = float(np.float32(grad_scale))  # as MXNet keeps it

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> LossTerm:
        """Three tensors of one shape -> (loss map of that shape, loss)."""
        loss = weight * smooth_l1(at_least_float32(prediction) - target, self.sigma)
        return LossTerm(loss.detach(), loss.sum() * self.grad_scale)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}, grad_scale={self.grad_scale}"


def at_least_float32(values: Tensor) -> Tensor:
    """What half-precision layers predict, for sums over thousands of terms; wider types as they are."""
    return values.float() if values.dtype.itemsize < 4 else values


def smooth_l1(x: Tensor, sigma: float) -> Tensor:
    """0.5 (sigma x)^2 where |x| < 1 / sigma^2, else |x| - 0.5 / sigma^2; elementwise."""
    squared = sigma * sigma
    return torch.where(x.abs() < 1 / squared, 0.5 * squared * x * x, x.abs() - 0.5 / squared)
