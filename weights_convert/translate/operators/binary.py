"""Functions of two arrays of one shape. Arrays of 1 in an axis that MXNet would infer (`_zeros`) broadcast."""

import torch
from torch import Tensor

from weights_convert.translate.registry import operator


def widened(value: Tensor) -> Tensor:
    """Whole numbers as float64; their quotients, powers and roots go back to their type cut toward zero."""
    return value if value.is_floating_point() else value.double()


def quotient(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs / rhs, of whole numbers cut toward zero."""
    return (widened(lhs) / widened(rhs)).to(lhs.dtype)


def power(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs to the power rhs, of whole numbers cut toward zero."""
    return torch.pow(widened(lhs), widened(rhs)).to(lhs.dtype)


def hypotenuse(lhs: Tensor, rhs: Tensor) -> Tensor:
    """sqrt(lhs^2 + rhs^2), of whole numbers cut toward zero."""
    return torch.hypot(widened(lhs), widened(rhs)).to(lhs.dtype)


@operator("elemwise_add", "_plus", "_Plus", "_add", "_grad_add")
def elemwise_add(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs + rhs, of one shape."""
    return lhs + rhs


@operator("elemwise_sub", "_minus", "_Minus", "_sub")
def elemwise_sub(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs - rhs, of one shape."""
    return lhs - rhs


@operator("elemwise_mul", "_mul", "_Mul")
def elemwise_mul(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs * rhs, of one shape."""
    return lhs * rhs


@operator("elemwise_div", "_div", "_Div", "_scatter_elemwise_div")
def elemwise_div(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs / rhs, of one shape."""
    return quotient(lhs, rhs)


@operator("_power", "_Power")
def elemwise_power(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs to the power rhs; one shape."""
    return power(lhs, rhs)


@operator("_maximum", "_Maximum")
def elemwise_maximum(lhs: Tensor, rhs: Tensor) -> Tensor:
    """The larger; one shape."""
    return torch.maximum(lhs, rhs)


@operator("_minimum", "_Minimum")
def elemwise_minimum(lhs: Tensor, rhs: Tensor) -> Tensor:
    """The smaller; one shape."""
    return torch.minimum(lhs, rhs)


@operator("_mod", "_Mod")
def elemwise_mod(lhs: Tensor, rhs: Tensor) -> Tensor:
    """Remainder with the sign of rhs; one shape."""
    return torch.remainder(lhs, rhs)


@operator("_hypot", "_Hypot")
def elemwise_hypot(lhs: Tensor, rhs: Tensor) -> Tensor:
    """sqrt(lhs^2 + rhs^2); one shape."""
    return hypotenuse(lhs, rhs)


@operator("_equal", "_Equal")
def elemwise_equal(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where equal, else 0; one shape."""
    return (lhs == rhs).to(lhs.dtype)


@operator("_not_equal", "_Not_Equal")
def elemwise_not_equal(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where not equal, else 0; one shape."""
    return (lhs != rhs).to(lhs.dtype)


@operator("_greater", "_Greater", decides=True)
def elemwise_greater(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where lhs > rhs, else 0; one shape."""
    return (lhs > rhs).to(lhs.dtype)


@operator("_greater_equal", "_Greater_Equal", decides=True)
def elemwise_greater_equal(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where lhs >= rhs, else 0; one shape."""
    return (lhs >= rhs).to(lhs.dtype)


@operator("_lesser", "_Lesser", decides=True)
def elemwise_lesser(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where lhs < rhs, else 0; one shape."""
    return (lhs < rhs).to(lhs.dtype)


@operator("_lesser_equal", "_Lesser_Equal", decides=True)
def elemwise_lesser_equal(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where lhs <= rhs, else 0; one shape."""
    return (lhs <= rhs).to(lhs.dtype)


@operator("_logical_and", "_Logical_And")
def elemwise_logical_and(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where both are not 0, else 0; one shape."""
    return ((lhs != 0) & (rhs != 0)).to(lhs.dtype)


@operator("_logical_or", "_Logical_Or")
def elemwise_logical_or(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where one is not 0, else 0; one shape."""
    return ((lhs != 0) | (rhs != 0)).to(lhs.dtype)


@operator("_logical_xor", "_Logical_Xor")
def elemwise_logical_xor(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where exactly one is not 0, else 0; one shape."""
    return ((lhs != 0) ^ (rhs != 0)).to(lhs.dtype)
