"""Deformable position-sensitive RoI pooling out of differentiable PyTorch operations.

Slow and hungry for memory (every sample of every bin is an element); it serves forward mode and second derivatives,
where the kernels of `deform_psroi_pool` stop. Same arithmetic, same cells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pooling:
    """The operator's parameters; `part_size` is resolved."""

    spatial_scale: float
    output_dim: int
    group_size: int
    pooled_size: int
    part_size: int
    sample_per_part: int
    trans_std: float


@dataclass(frozen=True)
class AxisSamples:
    """Samples of every bin on one axis, each [R, T, P, P, S]; T: offset classes, S: samples."""

    low: Tensor
    high: Tensor
    fraction: Tensor
    inside: Tensor


def float32_parameter(value: float) -> float:
    """MXNet keeps its parameters in float32 whatever the data type."""
    return torch.tensor(value, dtype=torch.float32).item()


def round_half_away(x: Tensor) -> Tensor:
    whole = torch.trunc(x)
    return whole + torch.sign(x) * ((x - whole).abs() >= 0.5)


def cells(pooled: int, size: int, like: Tensor) -> Tensor:
    """The part cell of each bin [P]."""
    bins = torch.arange(pooled, device=like.device, dtype=like.dtype)
    return (bins / pooled * size).long()


def group_cells(pooled: int, group: int, like: Tensor) -> Tensor:
    """The group cell of each bin [P]."""
    bins = torch.arange(pooled, device=like.device, dtype=like.dtype)
    return (bins * group / pooled).long().clamp(0, group - 1)


def axis_samples(first: Tensor, last: Tensor, bins: Tensor, shift: Tensor, size: int, p: Pooling) -> AxisSamples:
    """first, last: RoI edges [R, 1, 1, 1]; bins: index on this axis [P, 1] or [P]; shift: [R, T, P, P] or a zero."""
    scale = float32_parameter(p.spatial_scale)
    start = round_half_away(first) * scale - 0.5
    extent = ((round_half_away(last) + 1) * scale - 0.5 - start).clamp(min=0.1)
    bin_extent = extent / p.pooled_size
    begin = bins * bin_extent + start + shift * float32_parameter(p.trans_std) * extent
    samples = torch.arange(p.sample_per_part, device=first.device, dtype=first.dtype)
    position = begin[..., None] + samples * (bin_extent / p.sample_per_part)[..., None]
    inside = (position >= -0.5) & (position <= size - 0.5)
    clamped = torch.where(inside, position, torch.zeros_like(position)).clamp(0, size - 1)
    low = clamped.detach().long()
    fraction = clamped - low
    return AxisSamples(low, low + (fraction.detach() > 0), fraction, inside)


@dataclass(frozen=True)
class Samples:
    """Where every sample reads: flat indices into input [R, D, P, P, S, S], and how much of it counts."""

    corners: tuple[Tensor, Tensor, Tensor, Tensor]  # upper left, lower left, upper right, lower right
    y_fraction: Tensor
    x_fraction: Tensor
    inside: Tensor
    count: Tensor  # [R, D, P, P]
    extent_x: Tensor  # RoI width in feature pixels [R, 1, 1, 1]
    extent_y: Tensor


def samples(input: Tensor, rois: Tensor, offset: Tensor | None, p: Pooling) -> Samples:
    """Geometry of every sample; rois carry no gradient."""
    n, channels, height, width = input.shape
    rois = rois.detach()
    usable = torch.isfinite(rois).all(1) & (rois[:, 0] > -1) & (rois[:, 0] < n)
    image = torch.where(usable, rois[:, 0], torch.zeros_like(rois[:, 0])).long()
    x1, y1, x2, y2 = (rois[:, i, None, None, None] for i in range(1, 5))
    bins = torch.arange(p.pooled_size, device=input.device, dtype=input.dtype)
    classes = 1
    shift_x = shift_y = torch.zeros((1, 1, p.pooled_size, p.pooled_size), device=input.device, dtype=input.dtype)
    if offset is not None:
        part = cells(p.pooled_size, p.part_size, rois)
        moved = offset[:, :, part][:, :, :, part]
        classes = offset.shape[1] // 2
        shift_x, shift_y = moved[:, 0::2], moved[:, 1::2]
    y = axis_samples(y1, y2, bins[:, None], shift_y, height, p)
    x = axis_samples(x1, x2, bins, shift_x, width, p)

    def per_channel(t: Tensor) -> Tensor:
        return t.repeat_interleave(p.output_dim // classes, dim=1) if t.shape[1] > 1 else t

    group = group_cells(p.pooled_size, p.group_size, rois)
    channel = torch.arange(p.output_dim, device=input.device)[:, None, None] * p.group_size + group[:, None]
    channel = channel * p.group_size + group
    plane = ((image[:, None, None, None] * channels + channel) * height)[..., None, None]
    y_low, y_high = (per_channel(t)[..., :, None] for t in (y.low, y.high))
    x_low, x_high = (per_channel(t)[..., None, :] for t in (x.low, x.high))
    inside = per_channel(y.inside)[..., :, None] & per_channel(x.inside)[..., None, :]
    inside = inside & usable[:, None, None, None, None, None]
    scale = float32_parameter(p.spatial_scale)
    extents = [
        ((round_half_away(b) + 1) * scale - 0.5 - (round_half_away(a) * scale - 0.5)).clamp(min=0.1)
        for a, b in ((x1, x2), (y1, y2))
    ]
    return Samples(
        corners=(
            (plane + y_low) * width + x_low,
            (plane + y_high) * width + x_low,
            (plane + y_low) * width + x_high,
            (plane + y_high) * width + x_high,
        ),
        y_fraction=per_channel(y.fraction)[..., :, None],
        x_fraction=per_channel(x.fraction)[..., None, :],
        inside=inside,
        count=inside.sum((-1, -2)),
        extent_x=extents[0],
        extent_y=extents[1],
    )


def weights(s: Samples) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bilinear weights in the order of `Samples.corners`."""
    fy, fx = s.y_fraction, s.x_fraction
    return (1 - fx) * (1 - fy), (1 - fx) * fy, fx * (1 - fy), fx * fy


def masked(t: Tensor, s: Samples) -> Tensor:
    return torch.where(s.inside, t, torch.zeros((), dtype=t.dtype, device=t.device))


def forward(input: Tensor, rois: Tensor, offset: Tensor | None, p: Pooling) -> Tensor:
    """Output [R, D, P, P]; differentiable in input and offset, any number of times and in forward mode."""
    s = samples(input, rois, offset, p)
    flat = input.reshape(-1)
    terms = [w * flat[index] for w, index in zip(weights(s), s.corners, strict=True)]
    return masked(terms[0] + terms[1] + terms[2] + terms[3], s).sum((-1, -2)) / s.count.clamp(min=1)


def backward(
    grad: Tensor, input: Tensor, rois: Tensor, offset: Tensor | None, p: Pooling
) -> tuple[Tensor, Tensor | None]:
    """Gradients of `forward` for input and offset; differentiable in grad, input and offset."""
    s = samples(input, rois, offset, p)
    counted = s.count > 0
    mean = torch.where(counted, grad, torch.zeros_like(grad)) / s.count.clamp(min=1)
    mean = mean[..., None, None]
    for_input = torch.zeros_like(input, memory_format=torch.contiguous_format).reshape(-1)
    for w, index in zip(weights(s), s.corners, strict=True):
        share = masked(w * mean, s)
        for_input = for_input.index_add(0, index.expand(share.shape).reshape(-1), share.reshape(-1))
    if offset is None:
        return for_input.reshape(input.shape), None
    flat = input.reshape(-1)
    v00, v10, v01, v11 = (flat[index] for index in s.corners)
    fy, fx = s.y_fraction, s.x_fraction
    slope_x = masked(((v11 - v10) * fy + (v01 - v00) * (1 - fy)) * mean, s).sum((-1, -2)) * s.extent_x
    slope_y = masked(((v11 - v01) * fx + (v10 - v00) * (1 - fx)) * mean, s).sum((-1, -2)) * s.extent_y
    rows, classes = rois.shape[0], offset.shape[1] // 2
    pairs = torch.stack([slope_x, slope_y], 2)  # [R, D, 2, P, P]
    pairs = pairs.reshape(rows, classes, -1, 2, p.pooled_size, p.pooled_size).sum(2).flatten(1, 2)
    part = cells(p.pooled_size, p.part_size, rois)
    cell = (part[:, None] * p.part_size + part).reshape(-1)
    for_offset = torch.zeros_like(offset, memory_format=torch.contiguous_format).flatten(2)
    for_offset = for_offset.index_add(2, cell, pairs.flatten(2) * float32_parameter(p.trans_std))
    return for_input.reshape(input.shape), for_offset.reshape(offset.shape)
