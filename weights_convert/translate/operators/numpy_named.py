"""Operators under the names that MXNet 1.6 to 1.9 gives them in its NumPy mode (`npx.set_np()`), the commonest of them.

Elementwise ones are those of the older interface. Here a full reduction has no axes, and 0 in a shape is a length.
"""

import torch
from torch import Tensor

from weights_convert.translate.operators import (  # noqa: F401  registered before
    binary,
    broadcast,
    creation,
    layout,
    unary,
)
from weights_convert.translate.operators import scalar as _scalar  # noqa: F401
from weights_convert.translate.operators.elementwise import DTYPES
from weights_convert.translate.registry import also_called, operator

SAME = {
    **{f"broadcast_{old}": f"_npi_{new}" for old, new in {
        "add": "add", "sub": "subtract", "mul": "multiply", "div": "true_divide", "power": "power", "mod": "mod",
        "maximum": "maximum", "minimum": "minimum",
    }.items()},
    **{f"_{old}_scalar": f"_npi_{new}_scalar" for old, new in {
        "plus": "add", "minus": "subtract", "rminus": "rsubtract", "mul": "multiply", "div": "true_divide",
        "rdiv": "rtrue_divide", "power": "power", "rpower": "rpower", "mod": "mod", "rmod": "rmod",
    }.items()},
    **{name: f"_npi_{name}" for name in (
        "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "square", "reciprocal", "negative", "sign", "floor",
        "ceil", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "stack",
    )},
    "abs": "_npi_absolute", "relu": "_npx_relu", "sigmoid": "_npx_sigmoid", "squeeze": "_np_squeeze", "_copy": "_np_copy",
    "_arange": "_npi_arange",
}  # fmt: skip
for name, alias in SAME.items():
    also_called(name, alias)


@operator("_npi_concatenate")
def np_concatenate(*data: Tensor, axis: int | None = 0) -> Tensor:
    """Joined along an axis; flattened first without one."""
    return torch.cat([each.flatten() for each in data]) if axis is None else torch.cat(data, axis)


@operator("_np_transpose")
def np_transpose(a: Tensor, *, axes: tuple[int, ...] | None = None) -> Tensor:
    """Axes in another order; without `axes` turned around."""
    return a.permute(tuple(range(a.dim()))[::-1] if axes is None else axes)


@operator("_np_reshape")
def np_reshape(a: Tensor, *, newshape: tuple[int, ...], order: str = "C") -> Tensor:
    """NumPy's reshape: -1 is inferred."""
    return a.reshape(newshape)


@operator("_npx_reshape")
def npx_reshape(a: Tensor, *, newshape: tuple[int, ...], reverse: bool = False, order: str = "C") -> Tensor:
    """New shape by the codes -1 infer, -2 keep, -3 drop a 1, -4 rest, -5 merge two, -6 split (from the right with reverse)."""
    if reverse and -6 in newshape:
        raise ValueError("_npx_reshape: splitting an axis from the right has no translation")
    source = list(a.shape)[:: -1 if reverse else 1]
    codes = newshape[:: -1 if reverse else 1]
    shape: list[int] = []
    read = place = 0
    while place < len(codes):
        code = codes[place]
        if code == -4:
            shape += source[read:]
            read = len(source)
        elif code == -5:
            shape.append(source[read] * source[read + 1])
        elif code == -6:
            first, second = codes[place + 1 : place + 3]
            shape += [
                source[read] // second if first == -1 else first,
                source[read] // first if second == -1 else second,
            ]
        elif code != -3:
            shape.append(source[read] if code == -2 else code)
        read += 2 if code == -5 else 1
        place += 3 if code == -6 else 1
    return a.reshape(shape[:: -1 if reverse else 1])


@operator("_npi_where")
def np_where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where condition is not 0, else y; broadcast."""
    return torch.where(condition != 0, x, y)


def np_axes(a: Tensor, axis: tuple[int, ...] | None) -> tuple[int, ...]:
    return tuple(range(a.dim())) if axis is None else axis


def without_initial(initial: float | None) -> None:
    """Raises: ValueError for a first value, which MXNet 1.9.1 does not take either."""
    if initial is not None:
        raise ValueError("a reduction's first value (initial) has no translation; MXNet 1.9.1 refuses it too")


@operator("_npi_mean")
def np_mean(
    a: Tensor,
    *,
    axis: tuple[int, ...] | None = None,
    dtype: str | None = None,
    keepdims: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Mean over axes; float32 of whole numbers, without a type."""
    without_initial(initial)
    kind = a.dtype if a.is_floating_point() else torch.float32
    wide = torch.float64 if dtype == "float64" else kind
    return a.to(wide).mean(np_axes(a, axis), keepdims).to(kind if dtype is None else DTYPES[dtype])


@operator("_np_sum")
def np_sum(
    a: Tensor,
    *,
    axis: tuple[int, ...] | None = None,
    dtype: str | None = None,
    keepdims: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Sum over axes, in the array's own type (whole numbers wrap around) or another."""
    without_initial(initial)
    wide = a.double() if dtype == "float64" else a
    return wide.sum(np_axes(a, axis), keepdims).to(a.dtype if dtype is None else DTYPES[dtype])


@operator("_np_max")
def np_max(
    a: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, initial: float | None = None
) -> Tensor:
    """Largest element over axes."""
    without_initial(initial)
    return a.amax(np_axes(a, axis), keepdims)


@operator("_np_min")
def np_min(
    a: Tensor, *, axis: tuple[int, ...] | None = None, keepdims: bool = False, initial: float | None = None
) -> Tensor:
    """Smallest element over axes."""
    without_initial(initial)
    return a.amin(np_axes(a, axis), keepdims)


@operator("_np_dot")
def np_dot(a: Tensor, b: Tensor) -> Tensor:
    """Contracts the last axis of a with the last but one of b, or its only one."""
    return torch.tensordot(a, b, dims=([-1], [-2 if b.dim() > 1 else 0]))


@operator("_npi_matmul")
def np_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product over the last two axes; the axes before broadcast."""
    return torch.matmul(a, b)


@operator("_npi_einsum")
def np_einsum(*operands: Tensor, subscripts: str = "", optimize: int = 0) -> Tensor:
    """Einstein's sum."""
    return torch.einsum(subscripts, *operands)


@operator("_npi_zeros")
def np_zeros(*, shape: tuple[int, ...] = (), dtype: str = "float32") -> Tensor:
    """Zeros."""
    return torch.zeros(shape, dtype=DTYPES[dtype])


@operator("_npi_ones")
def np_ones(*, shape: tuple[int, ...] = (), dtype: str = "float32") -> Tensor:
    """Ones."""
    return torch.ones(shape, dtype=DTYPES[dtype])


@operator("_npi_greater")
def np_greater(x1: Tensor, x2: Tensor) -> Tensor:
    """Whether x1 is above x2, as a boolean; broadcast."""
    return x1 > x2


@operator("_npi_greater_scalar")
def np_greater_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """Whether x is above scalar, as a boolean."""
    return data > scalar


@operator("_npi_greater_equal")
def np_greater_equal(x1: Tensor, x2: Tensor) -> Tensor:
    """Whether x1 is at least x2, as a boolean; broadcast."""
    return x1 >= x2


@operator("_npi_greater_equal_scalar")
def np_greater_equal_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """Whether x is at least scalar, as a boolean."""
    return data >= scalar


@operator("_npi_less")
def np_less(x1: Tensor, x2: Tensor) -> Tensor:
    """Whether x1 is below x2, as a boolean; broadcast."""
    return x1 < x2


@operator("_npi_less_scalar")
def np_less_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """Whether x is below scalar, as a boolean."""
    return data < scalar


@operator("_npi_less_equal")
def np_less_equal(x1: Tensor, x2: Tensor) -> Tensor:
    """Whether x1 is at most x2, as a boolean; broadcast."""
    return x1 <= x2


@operator("_npi_less_equal_scalar")
def np_less_equal_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """Whether x is at most scalar, as a boolean."""
    return data <= scalar


@operator("_npi_equal")
def np_equal(x1: Tensor, x2: Tensor) -> Tensor:
    """Whether x1 is equal to x2, as a boolean; broadcast."""
    return x1 == x2


@operator("_npi_equal_scalar")
def np_equal_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """Whether x is equal to scalar, as a boolean."""
    return data == scalar


@operator("_npi_not_equal")
def np_not_equal(x1: Tensor, x2: Tensor) -> Tensor:
    """Whether x1 is not equal to x2, as a boolean; broadcast."""
    return x1 != x2


@operator("_npi_not_equal_scalar")
def np_not_equal_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """Whether x is not equal to scalar, as a boolean."""
    return data != scalar
