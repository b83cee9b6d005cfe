"""Sums, means and extremes over axes. MXNet has no 0-dimensional arrays: a full reduction has shape [1]."""

import torch
from torch import Tensor

from weights_convert.translate.registry import operator


def all_but(rank: int, named: list[int]) -> list[int]:
    """The axes of an array of `rank` that are not named."""
    others: list[int] = []
    for each in range(rank):
        if each not in named:
            others += [each]
    return others


def reduced_axes(data: Tensor, axis: tuple[int, ...] | None, exclude: bool) -> list[int]:
    """The axes to reduce: those named, all others with exclude, all where none is named."""
    named = [each % data.dim() for each in axis or ()]
    if not named:
        return list(range(data.dim()))
    return all_but(data.dim(), named) if exclude else named


def at_least_1d(data: Tensor) -> Tensor:
    return data.reshape(1) if data.dim() == 0 else data


@operator("sum", "sum_axis")
def sum_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Sum over axes."""
    return at_least_1d(data.sum(reduced_axes(data, axis, exclude), keepdims))


@operator("nansum")
def nansum_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Sum over axes, NaN counting as 0."""
    return at_least_1d(data.nansum(reduced_axes(data, axis, exclude), keepdims))


@operator("mean")
def mean_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Mean over axes."""
    return at_least_1d(data.mean(reduced_axes(data, axis, exclude), keepdims))


@operator("max", "max_axis")
def max_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Largest element over axes."""
    return at_least_1d(data.amax(reduced_axes(data, axis, exclude), keepdims))


@operator("min", "min_axis")
def min_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Smallest element over axes."""
    return at_least_1d(data.amin(reduced_axes(data, axis, exclude), keepdims))


@operator("prod")
def prod_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Product over axes."""
    for each in sorted(reduced_axes(data, axis, exclude), reverse=True):
        data = data.prod(each, keepdim=keepdims)
    return at_least_1d(data)


@operator("norm")
def norm(
    data: Tensor,
    *,
    ord: int = 2,
    axis: tuple[int, ...] | None = None,
    out_dtype: str | None = None,
    keepdims: bool = False,
) -> Tensor:
    """1- or 2-norm over axes."""
    axes = reduced_axes(data, axis, False)
    total = data.abs().sum(axes, keepdims) if ord == 1 else data.square().sum(axes, keepdims).sqrt()
    return at_least_1d(total)


@operator("argmax", decides=True)
def argmax(data: Tensor, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Place of the first largest element along an axis, or in the flattened array, as a floating-point number."""
    return at_least_1d(torch.argmax(data, axis, keepdims).to(data.dtype))


@operator("argmin", decides=True)
def argmin(data: Tensor, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Place of the first smallest element along an axis, or in the flattened array, as a floating-point number."""
    return at_least_1d(torch.argmin(data, axis, keepdims).to(data.dtype))


@operator("argmax_channel", decides=True)
def argmax_channel(data: Tensor) -> Tensor:
    """Place of the largest element along axis 1."""
    return torch.argmax(data, 1).to(data.dtype)


@operator("cumsum")
def cumsum(a: Tensor, *, axis: int | None = None, dtype: str | None = None) -> Tensor:
    """Running sum along an axis, or of the flattened array."""
    return torch.cumsum(a.flatten() if axis is None else a, 0 if axis is None else axis)


@operator("moments", outputs=2)
def moments(data: Tensor, *, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over axes."""
    variance, mean = torch.var_mean(data, dim=reduced_axes(data, axes, False), correction=0, keepdim=keepdims)
    return at_least_1d(mean), at_least_1d(variance)
