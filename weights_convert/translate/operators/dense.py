"""Layers that multiply by a learned array."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.registry import operator

CHANNELS_LAST = ("NWC", "NHWC", "NDHWC")


@operator("FullyConnected")
def fully_connected(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    num_hidden: int,
    no_bias: bool = False,
    flatten: bool = True,
) -> Tensor:
    """data @ weight.T + bias; all axes but the first are one, unless flatten=False (then the last axis alone)."""
    rows = data.reshape(data.shape[0], -1) if flatten and data.dim() != 2 else data
    return F.linear(rows, weight, None if no_bias else bias)


def per_axis(value: tuple[int, ...], axes: int, default: int) -> tuple[int, ...]:
    """One number for each spatial axis; () stands for the default everywhere."""
    return tuple(value) or (default,) * axes


@operator("Convolution", "Convolution_v1")
def convolution(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel: tuple[int, ...],
    num_filter: int,
    stride: tuple[int, ...] = (),
    dilate: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    num_group: int = 1,
    no_bias: bool = False,
    layout: str | None = None,
) -> Tensor:
    """Cross-correlation in 1, 2 or 3 dimensions, weight [O, I/groups, *kernel]; layouts NWC, NHWC, NDHWC too."""
    axes = len(kernel)
    last = layout in CHANNELS_LAST
    maps = data.movedim(-1, 1) if last else data
    taps = weight.movedim(-1, 1) if last else weight
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    geometry = per_axis(stride, axes, 1), per_axis(pad, axes, 0), per_axis(dilate, axes, 1)
    output = convolve(maps, taps, None if no_bias else bias, *geometry, num_group)
    return output.movedim(1, -1) if last else output


@operator("Deconvolution")
def deconvolution(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel: tuple[int, ...],
    num_filter: int,
    stride: tuple[int, ...] = (),
    dilate: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    adj: tuple[int, ...] = (),
    target_shape: tuple[int, ...] = (),
    num_group: int = 1,
    no_bias: bool = True,
    layout: str | None = None,
) -> Tensor:
    """Transposed convolution, weight [I, O/groups, *kernel]; target_shape decides pad and adj; no bias unless asked for.

    Layouts NWC, NHWC, NDHWC have the weight [I, *kernel, O/groups].
    """
    axes = len(kernel)
    last = layout in CHANNELS_LAST
    maps = data.movedim(-1, 1) if last else data
    taps = weight.movedim(-1, 1) if last else weight
    strides, dilations = per_axis(stride, axes, 1), per_axis(dilate, axes, 1)
    pads, adjs = per_axis(pad, axes, 0), per_axis(adj, axes, 0)
    if any(target_shape):
        surplus = [
            strides[axis] * (maps.shape[2 + axis] - 1) + dilations[axis] * (kernel[axis] - 1) + 1 - target_shape[axis]
            for axis in range(axes)
        ]
        pads, adjs = tuple((each + 1) // 2 for each in surplus), tuple(each % 2 for each in surplus)
    spread = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    output = spread(maps, taps, None if no_bias else bias, strides, pads, adjs, num_group, dilations)
    return output.movedim(1, -1) if last else output


@operator("Embedding", "_contrib_SparseEmbedding")
def embedding(
    data: Tensor,
    weight: Tensor,
    *,
    input_dim: int,
    output_dim: int,
    dtype: str = "float32",
    sparse_grad: bool = False,
    deterministic: bool = False,
) -> Tensor:
    """Rows of weight by number; numbers outside [0, input_dim) take the nearest row."""
    return F.embedding(data.long().clamp(0, input_dim - 1), weight)


@operator("dot")
def dot(
    lhs: Tensor,
    rhs: Tensor,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    forward_stype: str | None = None,
) -> Tensor:
    """Contracts the last axis of lhs with the first of rhs; transposing turns the order of all axes but one around."""
    left = lhs.movedim(0, -1) if transpose_a else lhs
    right = rhs.movedim(-1, 0) if transpose_b else rhs
    result = torch.tensordot(left, right, dims=1)
    return result.reshape(1) if result.dim() == 0 else result


@operator("batch_dot")
def batch_dot(
    lhs: Tensor,
    rhs: Tensor,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    forward_stype: str | None = None,
) -> Tensor:
    """Matrix product of the last two axes, one for each of the axes before."""
    left = lhs.transpose(-1, -2) if transpose_a else lhs
    right = rhs.transpose(-1, -2) if transpose_b else rhs
    return left @ right


@operator("_linalg_gemm2", "linalg_gemm2")
def linalg_gemm2(
    A: Tensor,
    B: Tensor,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    alpha: float = 1.0,
    axis: int = -2,
) -> Tensor:
    """alpha * A @ B over axes `axis` and the last."""
    left, right = A.movedim(axis, -2), B.movedim(axis, -2)
    left = left.transpose(-1, -2) if transpose_a else left
    right = right.transpose(-1, -2) if transpose_b else right
    return (alpha * (left @ right)).movedim(-2, axis)


@operator("_contrib_div_sqrt_dim")
def div_sqrt_dim(data: Tensor) -> Tensor:
    """data / sqrt(length of the last axis)."""
    return data / math.sqrt(data.shape[-1])


@operator("_contrib_interleaved_matmul_selfatt_qk")
def interleaved_matmul_selfatt_qk(queries_keys_values: Tensor, *, heads: int) -> Tensor:
    """[T, N, heads * 3 * D] -> [N * heads, T, T]: scaled products of queries and keys."""
    length, batch, width = queries_keys_values.shape
    split = queries_keys_values.reshape(length, batch * heads, 3, width // (3 * heads))
    query, key = (split[:, :, place].transpose(0, 1) for place in (0, 1))
    return (query / math.sqrt(query.shape[-1])) @ key.transpose(1, 2)


@operator("_contrib_interleaved_matmul_selfatt_valatt")
def interleaved_matmul_selfatt_valatt(queries_keys_values: Tensor, attention: Tensor, *, heads: int) -> Tensor:
    """Values [T, N, heads * 3 * D] weighted by attention [N * heads, T, T] -> [T, N, heads * D]."""
    length, batch, width = queries_keys_values.shape
    values = queries_keys_values.reshape(length, batch * heads, 3, width // (3 * heads))[:, :, 2].transpose(0, 1)
    return (attention @ values).transpose(0, 1).reshape(length, batch, width // 3)


@operator("_contrib_interleaved_matmul_encdec_qk")
def interleaved_matmul_encdec_qk(queries: Tensor, keys_values: Tensor, *, heads: int) -> Tensor:
    """[Tq, N, heads * D] and [Tk, N, heads * 2 * D] -> [N * heads, Tq, Tk]: scaled products of queries and keys."""
    length, batch, width = queries.shape
    query = queries.reshape(length, batch * heads, width // heads).transpose(0, 1)
    key = keys_values.reshape(keys_values.shape[0], batch * heads, 2, width // heads)[:, :, 0].transpose(0, 1)
    return (query / math.sqrt(query.shape[-1])) @ key.transpose(1, 2)


@operator("_contrib_interleaved_matmul_encdec_valatt")
def interleaved_matmul_encdec_valatt(keys_values: Tensor, attention: Tensor, *, heads: int) -> Tensor:
    """Values [Tk, N, heads * 2 * D] weighted by attention [N * heads, Tq, Tk] -> [Tq, N, heads * D]."""
    length, batch, width = keys_values.shape
    values = keys_values.reshape(length, batch * heads, 2, width // (2 * heads))[:, :, 1].transpose(0, 1)
    return (attention @ values).transpose(0, 1).reshape(attention.shape[1], batch, width // 2)
