"""Normalisations and dropout."""

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.registry import operator

SINGLE_1E_3 = 0.0010000000474974513  # BatchNorm keeps eps in double, but its default is written in float32


@operator("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm", outputs=lambda a: 3 if a["output_mean_var"] else 1)
def batch_norm(
    data: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Tensor,
    moving_var: Tensor,
    *,
    eps: float = SINGLE_1E_3,
    momentum: Single = 0.9,
    fix_gamma: bool = True,
    use_global_stats: bool = False,
    output_mean_var: bool = False,
    axis: int = 1,
    min_calib_range: float | None = None,
    max_calib_range: float | None = None,
    training: bool = False,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Normalises each channel; fix_gamma (default!) takes gamma as 1 whatever is stored; momentum is the old value's share.

    In training the batch's statistics are used, and the moving ones take over their mean and *biased* variance, unless
    use_global_stats.
    """
    maps = data if axis == 1 else data.movedim(axis, 1)
    scale = torch.ones_like(gamma) if fix_gamma else gamma
    mean, variance = moving_mean, moving_var
    if training and not use_global_stats:
        axes = [0, *range(2, maps.dim())]
        variance, mean = torch.var_mean(maps, dim=axes, correction=0)
        with torch.no_grad():
            moving_mean.mul_(momentum).add_(mean.to(moving_mean.dtype), alpha=1 - momentum)
            moving_var.mul_(momentum).add_(variance.to(moving_var.dtype), alpha=1 - momentum)
        # F.batch_norm refuses a single value a channel, which becomes beta.
        normal = torch.batch_norm(maps, scale, beta, None, None, True, 0.0, eps, torch.backends.cudnn.enabled)
    else:
        normal = F.batch_norm(maps, mean, variance, scale, beta, False, 0.0, eps)
    normal = normal if axis == 1 else normal.movedim(1, axis)
    return (normal, mean, torch.rsqrt(variance + eps)) if output_mean_var else normal


@operator("_contrib_SyncBatchNorm")
def sync_batch_norm(
    data: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Tensor,
    moving_var: Tensor,
    *,
    eps: float = SINGLE_1E_3,
    momentum: Single = 0.9,
    fix_gamma: bool = True,
    use_global_stats: bool = False,
    output_mean_var: bool = False,
    ndev: int = 1,
    key: str,
    training: bool = False,
) -> Tensor:
    """BatchNorm; on one device there is nothing to synchronise."""
    return batch_norm(
        data,
        gamma,
        beta,
        moving_mean,
        moving_var,
        eps=eps,
        momentum=momentum,
        fix_gamma=fix_gamma,
        use_global_stats=use_global_stats,
        training=training,
    )


@operator("InstanceNorm")
def instance_norm(data: Tensor, gamma: Tensor, beta: Tensor, *, eps: Single = 1e-3) -> Tensor:
    """Normalises every channel of every image on its own; eps 1e-3 by default. A single value becomes beta."""
    if data.dim() < 3:
        raise ValueError(f"InstanceNorm: expected at least 3 axes, got {data.dim()}")
    return torch.instance_norm(data, gamma, beta, None, None, True, 0.0, eps, torch.backends.cudnn.enabled)


@operator("LayerNorm", outputs=lambda a: 3 if a["output_mean_var"] else 1)
def layer_norm(
    data: Tensor, gamma: Tensor, beta: Tensor, *, axis: int = -1, eps: Single = 1e-5, output_mean_var: bool = False
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Normalises along one axis."""
    moved = data.movedim(axis, -1)
    normal = F.layer_norm(moved, moved.shape[-1:], gamma, beta, eps).movedim(-1, axis)
    if not output_mean_var:
        return normal
    variance, mean = torch.var_mean(data, dim=axis, correction=0, keepdim=True)
    return normal, mean, torch.sqrt(variance + eps)


@operator("GroupNorm", outputs=lambda a: 3 if a["output_mean_var"] else 1)
def group_norm(
    data: Tensor, gamma: Tensor, beta: Tensor, *, num_groups: int = 1, eps: Single = 1e-5, output_mean_var: bool = False
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Normalises groups of channels; gamma and beta have one value a group (MXNet 1.6 to 1.9) or a channel (2.0)."""
    repeats = 1 if gamma.shape[0] == data.shape[1] else data.shape[1] // num_groups
    scale, shift = gamma.repeat_interleave(repeats), beta.repeat_interleave(repeats)
    normal = torch.group_norm(data, num_groups, scale, shift, eps, torch.backends.cudnn.enabled)
    if not output_mean_var:
        return normal
    variance, mean = torch.var_mean(data.reshape(data.shape[0], num_groups, -1), dim=2, correction=0)
    return normal, mean, torch.sqrt(variance + eps)


@operator("L2Normalization")
def l2_normalization(data: Tensor, *, eps: Single = 1e-10, mode: str = "instance") -> Tensor:
    """x / sqrt(sum of squares + eps): over all axes but the first (instance), axis 1 (channel), or axes from 2 (spatial)."""
    axes = {"instance": list(range(1, data.dim())), "channel": [1], "spatial": list(range(2, data.dim()))}[mode]
    return data / torch.sqrt(data.square().sum(axes, keepdim=True) + eps)


@operator("LRN")
def local_response_norm(
    data: Tensor, *, nsize: int, alpha: Single = 1e-4, beta: Single = 0.75, knorm: Single = 2.0
) -> Tensor:
    """x / (knorm + alpha/nsize * sum of squares of nsize neighbouring channels)^beta."""
    return F.local_response_norm(data, nsize, alpha, beta, knorm)


@operator("Dropout")
def dropout(
    data: Tensor,
    *,
    p: Single = 0.5,
    mode: str = "training",
    axes: tuple[int, ...] = (),
    training: bool = False,
) -> Tensor:
    """Zeros a share p and scales the rest, in training or (mode always) ever; one draw along each of `axes`."""
    if not (training or mode == "always"):
        return data
    if not axes:
        return F.dropout(data, p)
    shape = [1 if axis in axes else length for axis, length in enumerate(data.shape)]
    return data * F.dropout(torch.ones(shape, dtype=data.dtype, device=data.device), p)
