"""Pooling with MXNet's size rules."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.registry import operator


def pooled_sides(
    sides: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...], full: bool
) -> list[int]:
    """Number of windows along each axis: rounded down, or up (full: the last window may lie in the padding)."""
    rooms = [side + 2 * p - k for side, k, p in zip(sides, kernel, pad, strict=True)]
    return [(-(-room // s) if full else room // s) + 1 for room, s in zip(rooms, stride, strict=True)]


def padded(data: Tensor, pad: tuple[int, ...], surplus: list[int], value: float) -> Tensor:
    """`pad` at both ends of the spatial axes and `surplus` more at their far ends."""
    widths = [width for p, more in zip(reversed(pad), reversed(surplus), strict=True) for width in (p, p + more)]
    return F.pad(data, widths, value=value)


def lowest_number(data: Tensor) -> float:
    """The least that data's type holds."""
    if not data.is_floating_point():
        return torch.iinfo(data.dtype).min
    if data.dtype == torch.float64:
        return -1.7976931348623157e308
    if data.dtype == torch.float16:
        return -65504.0
    return -3.3895313892515355e38 if data.dtype == torch.bfloat16 else -3.4028234663852886e38


def max_pool(
    data: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...], full: bool, empty: float
) -> Tensor:
    """The largest element of each window; a window without elements gives `empty`."""
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    sides = data.shape[2:]
    counts = pooled_sides(sides, kernel, stride, pad, full)
    surplus = [
        (n - 1) * s + k - side - 2 * p for n, s, k, side, p in zip(counts, stride, kernel, sides, pad, strict=True)
    ]
    small = all(2 * p <= k for p, k in zip(pad, kernel, strict=True))
    if small and not any(more > 0 for more in surplus):
        return pool(data, kernel, stride, pad)
    if small and all((n - 1) * s < side + p for n, s, side, p in zip(counts, stride, sides, pad, strict=True)):
        return pool(data, kernel, stride, pad, ceil_mode=full)
    return pool(padded(data, pad, [max(more, 0) for more in surplus], empty), kernel, stride)


def sum_pool(data: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Sums of the windows of an array without padding."""
    if len(kernel) == 3:
        return F.avg_pool3d(data, kernel, stride, divisor_override=1)
    if len(kernel) == 2:
        return F.avg_pool2d(data, kernel, stride, divisor_override=1)
    return F.avg_pool2d(data.unsqueeze(2), (1, *kernel), (1, *stride), divisor_override=1).squeeze(2)


def window_sums(
    data: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...], full: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums, and how many elements each window has without and with the padding."""
    sides = data.shape[2:]
    counts = pooled_sides(sides, kernel, stride, pad, full)
    surplus = [
        max((n - 1) * s + k - side - 2 * p, 0)
        for n, s, k, side, p in zip(counts, stride, kernel, sides, pad, strict=True)
    ]
    ones = torch.ones([1, 1, *sides], dtype=data.dtype, device=data.device)
    none = [0] * len(kernel)
    inside = sum_pool(padded(ones, pad, surplus, 0.0), kernel, stride)
    with_padding = sum_pool(padded(F.pad(ones, [p for p in reversed(pad) for _ in (0, 1)], value=1.0),
                                   tuple(none), surplus, 0.0), kernel, stride)  # fmt: skip
    return sum_pool(padded(data, pad, surplus, 0.0), kernel, stride), inside, with_padding


def average_pool(
    data: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...], full: bool, with_padding: bool
) -> Tensor:
    """Means of the windows; padding counts as zeros or not at all."""
    sides = data.shape[2:]
    counts = pooled_sides(sides, kernel, stride, pad, full)
    inside = all((n - 1) * s < side + p for n, s, side, p in zip(counts, stride, sides, pad, strict=True))
    if len(kernel) == 3:  # PyTorch wants the kernel to fit without the padding there
        inside = inside and all(side >= k for side, k in zip(sides, kernel, strict=True))
    if inside and all(2 * p <= k for p, k in zip(pad, kernel, strict=True)):
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
        return pool(data, kernel, stride, pad, full, with_padding)
    total, elements, with_zeros = window_sums(data, kernel, stride, pad, full)
    return total / (with_zeros if with_padding else elements).clamp(min=1)


@operator("Pooling")
def pooling(
    data: Tensor,
    *,
    kernel: tuple[int, ...] = (),
    pool_type: str = "max",
    global_pool: bool = False,
    pooling_convention: str = "valid",
    stride: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    p_value: int | None = None,
    count_include_pad: bool | None = None,
    layout: str | None = None,
) -> Tensor:
    """max, avg, sum or lp pooling; convention valid rounds the number of windows down, full up; padding counts in averages.

    A window of "full" that starts beyond the input is kept (PyTorch's ceil_mode drops it). global_pool ignores the geometry.
    """
    maps = data.movedim(-1, 1) if layout in ("NWC", "NHWC", "NDHWC") else data
    axes = list(range(2, maps.dim()))
    power = 2 if p_value is None else p_value
    if pooling_convention not in ("valid", "full"):
        raise ValueError(f"Pooling: expected convention valid or full, got {pooling_convention}")
    stride, pad = tuple(stride) or (1,) * len(kernel), tuple(pad) or (0,) * len(kernel)
    full = pooling_convention == "full"
    if global_pool and pool_type == "max":
        output = maps.amax(axes, keepdim=True)
    elif global_pool and pool_type == "avg":
        output = maps.mean(axes, keepdim=True)
    elif global_pool and pool_type == "sum":
        output = maps.sum(axes, keepdim=True)
    elif global_pool:
        output = (maps.abs() ** power).sum(axes, keepdim=True) ** (1.0 / power)
    elif pool_type == "max":
        output = max_pool(maps, kernel, stride, pad, full, lowest_number(maps))
    elif pool_type == "avg":
        output = average_pool(maps, kernel, stride, pad, full, count_include_pad is not False)
    elif pool_type == "sum":
        output = window_sums(maps, kernel, stride, pad, full)[0]
    else:
        output = window_sums(maps.abs() ** power, kernel, stride, pad, full)[0] ** (1.0 / power)
    return output.movedim(1, -1) if layout in ("NWC", "NHWC", "NDHWC") else output


@operator("Pooling_v1")
def pooling_v1(
    data: Tensor,
    *,
    kernel: tuple[int, ...] = (),
    pool_type: str = "max",
    global_pool: bool = False,
    pooling_convention: str = "valid",
    stride: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
) -> Tensor:
    """The old max, avg or sum pooling: padding is zeros for the maximum too, averages are over the whole kernel's area.

    A window of "full" that starts beyond the padding has the maximum -inf. global_pool ignores the geometry.
    """
    if pool_type not in ("max", "avg", "sum"):
        raise ValueError(f"Pooling_v1: expected max, avg or sum, got {pool_type}")
    if global_pool:
        return pooling(data, pool_type=pool_type, global_pool=True)
    none = (0,) * len(kernel)
    maps = padded(data, tuple(pad) or none, [0] * len(kernel), 0.0)
    if pool_type == "max":
        return max_pool(
            maps, kernel, tuple(stride) or (1,) * len(kernel), none, pooling_convention == "full", -math.inf
        )
    sums = pooling(maps, kernel=kernel, pool_type="sum", pooling_convention=pooling_convention, stride=stride)
    return sums / math.prod(kernel) if pool_type == "avg" else sums


@operator("_contrib_AdaptiveAvgPooling2D")
def adaptive_avg_pooling2d(data: Tensor, *, output_size: tuple[int, ...] = ()) -> Tensor:
    """Means of output_size x output_size windows that cover the map; () means 1."""
    sides = tuple(output_size) or (1,)
    return F.adaptive_avg_pool2d(data, sides * 2 if len(sides) == 1 else sides)
