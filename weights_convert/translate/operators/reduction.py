"""Sums, means and extremes over axes, in the array's type. MXNet has no 0-dimensional arrays: a full reduction has shape [1]."""

import torch
from torch import Tensor

from weights_convert.translate.operators.elementwise import DTYPES
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


def mean_in_type(data: Tensor, axes: list[int], keepdims: bool) -> Tensor:
    """Mean; whole numbers are added in their type, as in MXNet, and the quotient is cut toward zero."""
    if data.is_floating_point():
        return data.mean(axes, keepdims)
    total = data.sum(axes, keepdims, dtype=data.dtype)
    return torch.div(total.long(), data.numel() // max(total.numel(), 1), rounding_mode="trunc").to(data.dtype)


@operator("sum", "sum_axis")
def sum_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Sum over axes."""
    return at_least_1d(data.sum(reduced_axes(data, axis, exclude), keepdims, dtype=data.dtype))


@operator("nansum")
def nansum_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Sum over axes, NaN counting as 0."""
    return at_least_1d(data.nansum(reduced_axes(data, axis, exclude), keepdims, dtype=data.dtype))


@operator("mean")
def mean_over(
    data: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False
) -> Tensor:
    """Mean over axes; of whole numbers its whole part."""
    return at_least_1d(mean_in_type(data, reduced_axes(data, axis, exclude), keepdims))


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
        data = data.prod(each, keepdim=keepdims, dtype=data.dtype)
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
    """1- or 2-norm over axes; out_dtype is the result's type, and a wider one that of the sums too."""
    axes = reduced_axes(data, axis, False)
    values = data.to(DTYPES[out_dtype]) if out_dtype in ("float32", "float64") else data
    sums = values.abs() if ord == 1 else values.square()
    total = sums.sum(axes, keepdims, dtype=values.dtype) if ord == 1 else sums.sum(axes, keepdims).sqrt()
    return at_least_1d(total if out_dtype is None else total.to(DTYPES[out_dtype]))


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
    """Running sum along an axis, or of the flattened array, in the array's type or in `dtype`; of bool in int64."""
    values = a.long() if a.dtype == torch.bool else a
    values = values if dtype is None else a.to(DTYPES[dtype])
    return torch.cumsum(values.flatten() if axis is None else values, 0 if axis is None else axis, dtype=values.dtype)


@operator("moments", outputs=2)
def moments(data: Tensor, *, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over axes; of whole numbers their whole parts."""
    if not data.is_floating_point():
        over = reduced_axes(data, axes, False)
        apart = data - mean_in_type(data, over, True)
        whole = mean_in_type(data, over, keepdims), mean_in_type(apart * apart, over, keepdims)
        return at_least_1d(whole[0]), at_least_1d(whole[1])
    variance, mean = torch.var_mean(data, dim=reduced_axes(data, axes, False), correction=0, keepdim=keepdims)
    return at_least_1d(mean), at_least_1d(variance)
