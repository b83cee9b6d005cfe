"""RoIAlign."""

import torch
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.registry import operator

CHUNK_ELEMENTS = 1 << 24  # corners gathered at once


def bilinear_corners(position: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells below and above each position, the share of the upper one, and whether the position counts at all."""
    inside = (position >= -1) & (position <= side)
    clamped = position.clamp(min=0)
    low = clamped.floor().clamp(max=side - 1)
    high = (low + 1).clamp(max=side - 1)
    share = torch.where(low >= side - 1, torch.zeros_like(clamped), clamped - low)
    return low.long(), high.long(), share, inside.to(position.dtype)


def sample_positions(start: Tensor, bin_side: Tensor, bins: int, samples: int) -> Tensor:
    """[R, bins * samples] positions: `samples` evenly spread in each bin."""
    like = {"dtype": start.dtype, "device": start.device}
    cell = torch.arange(bins, **like).repeat_interleave(samples)
    sample = torch.arange(samples, **like).repeat(bins)
    return start[:, None] + cell * bin_side[:, None] + (sample + 0.5) * bin_side[:, None] / samples


def align_some(
    data: Tensor, image: Tensor, y: Tensor, x: Tensor, pooled: tuple[int, int], samples: tuple[int, int]
) -> Tensor:
    """Means of bilinear samples at all (y, x) of each RoI: [R, C, PH, PW]."""
    channels, height, width = data.shape[1:]
    y_low, y_high, y_share, y_in = bilinear_corners(y, height)
    x_low, x_high, x_share, x_in = bilinear_corners(x, width)
    flat = data.flatten(2)
    total = torch.zeros((), dtype=data.dtype, device=data.device)
    for rows, row_weight in ((y_low, 1 - y_share), (y_high, y_share)):
        for columns, column_weight in ((x_low, 1 - x_share), (x_high, x_share)):
            place = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
            weight = ((row_weight * y_in)[:, :, None] * (column_weight * x_in)[:, None, :]).flatten(1)
            picked = flat[image].gather(2, place[:, None, :].expand(-1, channels, -1))
            total = total + picked * weight[:, None, :]
    shape = (len(image), channels, pooled[0], samples[0], pooled[1], samples[1])
    return total.reshape(shape).mean((3, 5))


def align(
    data: Tensor, rois: Tensor, pooled: tuple[int, int], scale: float, samples: tuple[int, int], aligned: bool
) -> Tensor:
    """RoIs that share a number of samples, a chunk at a time."""
    edge = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    sides = edge[:, 2:] - edge[:, :2]
    sides = sides if aligned else sides.clamp(min=1.0)
    y = sample_positions(edge[:, 1], sides[:, 1] / pooled[0], pooled[0], samples[0])
    x = sample_positions(edge[:, 0], sides[:, 0] / pooled[1], pooled[1], samples[1])
    image = rois[:, 0].long()
    gathered = data.shape[1] * max(y.shape[1] * x.shape[1], data.shape[2] * data.shape[3])
    chunk = max(CHUNK_ELEMENTS // max(gathered, 1), 1)
    parts = [align_some(data, image[at : at + chunk], y[at : at + chunk], x[at : at + chunk], pooled, samples)
             for at in range(0, len(rois), chunk)]  # fmt: skip
    return torch.cat(parts) if parts else data.new_zeros((0, data.shape[1], *pooled))


@operator("_contrib_ROIAlign")
def roi_align(
    data: Tensor,
    rois: Tensor,
    *,
    pooled_size: tuple[int, ...],
    spatial_scale: Single,
    sample_ratio: int = -1,
    position_sensitive: bool = False,
    aligned: bool = False,
) -> Tensor:
    """Mean of bilinear samples in each bin of [R, 5] = (image, x1, y1, x2, y2); sides of at least 1 unless aligned.

    sample_ratio samples along each side of a bin; -1: as many as the bin has cells, rounded up. A RoI of image < 0 gives 0.
    """
    pooled = (pooled_size[0], pooled_size[-1])
    if position_sensitive:
        raise ValueError("ROIAlign: position_sensitive=True has no translation")
    if sample_ratio > 0:
        output = align(data, rois, pooled, spatial_scale, (sample_ratio,) * 2, aligned)
        return output * (rois[:, 0] >= 0).to(data.dtype)[:, None, None, None]
    sides = (rois[:, [4, 3]] - rois[:, [2, 1]]) * spatial_scale
    sides = sides if aligned else sides.clamp(min=1.0)
    counts = torch.ceil(sides / torch.tensor(pooled, dtype=sides.dtype, device=sides.device)).long()
    output = data.new_zeros((len(rois), data.shape[1], *pooled))
    for high, wide in torch.unique(counts, dim=0).tolist():
        chosen = torch.nonzero((counts[:, 0] == high) & (counts[:, 1] == wide) & (rois[:, 0] >= 0)).flatten()
        if len(chosen) and high > 0 and wide > 0:
            output[chosen] = align(data, rois[chosen], pooled, spatial_scale, (high, wide), aligned)
    return output
