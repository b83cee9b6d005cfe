"""What an operator of ours is in standard ONNX operators, opset 19; imported only when something is exported.

Arguments are onnxscript values (`shape` is known but for the dynamic axes) and Python numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper
from onnxscript import opset19 as op


def deform_conv2d(
    input: Any, offset: Any, mask: Any, weight: Any, bias: Any,
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], border: str,
) -> Any:  # fmt: skip
    """DeformConv, which has the rule "zeros"; for "clamp" behind moved offsets and a mask."""
    kernel = tuple(weight.shape[2:])
    taps = kernel[0] * kernel[1]
    offset_groups = offset.shape[1] // (2 * taps)
    if border == "clamp":
        offset, mask = clamped(input, offset, mask, kernel, offset_groups, stride, padding, dilation)
    return op.DeformConv(
        input,
        weight,
        offset,
        bias,
        mask,
        dilations=list(dilation),
        group=input.shape[1] // weight.shape[1],
        kernel_shape=list(kernel),
        offset_group=offset_groups,
        pads=[*padding, *padding],
        strides=list(stride),
    )


def clamped(
    input: Any, offset: Any, mask: Any, kernel: tuple[int, int], offset_groups: int,
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
) -> tuple[Any, Any]:  # fmt: skip
    """Offsets and mask that make a sampler that fades to zeros follow "clamp".

    A sample outside [0, H) x [0, W), or at a position that is not finite, gets mask 0 and stands on row or column 0; one
    beyond the last row or column is moved back onto it. All others keep their offset bit for bit. An offset channel is one
    axis of one tap, y and x in turn, so everything is done per channel [1, 2*G*K, 1, 1] and per position.
    """
    tap = np.arange(kernel[0] * kernel[1])
    steps = np.stack([tap // kernel[1] * dilation[0] - padding[0], tap % kernel[1] * dilation[1] - padding[1]], 1)
    per_channel = np.tile(steps.ravel(), offset_groups).reshape(1, -1, 1, 1)
    on_y = constant(np.arange(per_channel.size).reshape(1, -1, 1, 1) % 2 == 0)
    rows = op.Unsqueeze(op.Mul(counted(offset, 2), number_like(offset, stride[0])), axes(0, 1, 3))
    columns = op.Unsqueeze(op.Mul(counted(offset, 3), number_like(offset, stride[1])), axes(0, 1, 2))
    base = op.Add(op.Where(on_y, rows, columns), number_like(offset, per_channel))
    size = op.Where(on_y, op.CastLike(size_of(input, 2), offset), op.CastLike(size_of(input, 3), offset))
    last = op.Sub(size, number_like(offset, 1))
    position = op.Add(base, offset)
    inside = op.And(op.GreaterOrEqual(position, number_like(offset, 0)), op.Less(position, size))
    held = op.Where(op.Greater(position, last), op.Sub(last, base), offset)
    per_axis = [op.Slice(inside, axes(first), axes(2**31), axes(1), axes(2)) for first in (0, 1)]
    both = op.CastLike(op.And(*per_axis), offset)
    return op.Where(inside, held, op.Neg(base)), both if mask is None else op.Mul(mask, both)


def size_of(value: Any, axis: int) -> Any:
    """[1], int64."""
    return op.Shape(value, start=axis, end=axis + 1)


def counted(value: Any, axis: int) -> Any:
    """0, 1, 2 ... along the axis, in value's type."""
    return op.CastLike(op.Range(0, op.Squeeze(size_of(value, axis)), 1), value)


def number_like(value: Any, number: int | np.ndarray) -> Any:
    """A small whole number, or an array of them, in value's type."""
    return op.CastLike(constant(np.asarray(number, np.float32)), value)


def constant(array: np.ndarray) -> Any:
    return op.Constant(value=numpy_helper.from_array(array))


def axes(*values: int) -> Any:
    return op.Constant(value_ints=values)


def roi_pool(input: Any, rois: Any, spatial_scale: float, pooled_size: Sequence[int]) -> Any:
    """MaxRoiPool, as ONNX Runtime computes it: the same rounding, bins and zeros for empty bins. RoIs must be finite."""
    return op.MaxRoiPool(input, rois, pooled_shape=list(pooled_size), spatial_scale=spatial_scale)


FORMS: dict[Callable, Callable] = {
    torch.ops.dcn.deform_conv2d.default: deform_conv2d,
    torch.ops.dcn.roi_pool.default: roi_pool,
}
