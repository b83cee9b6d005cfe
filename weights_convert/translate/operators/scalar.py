"""Functions of an array and a number. Of a whole-number array the result is one too, by the number's whole part."""

import torch
from torch import Tensor

from weights_convert.translate.operators.binary import hypotenuse, widened
from weights_convert.translate.registry import operator


def matched(data: Tensor, scalar: float, is_int: bool) -> tuple[Tensor, float]:
    """Array and number as they are combined: whole numbers with a whole number, or in float64 where is_int is False."""
    if data.is_floating_point():
        return data, scalar
    return (data, int(scalar)) if is_int else (data.double(), scalar)


@operator("_plus_scalar", "_PlusScalar", "_scatter_plus_scalar")
def plus_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """x + scalar."""
    data, scalar = matched(data, scalar, is_int)
    return data + scalar


@operator("_minus_scalar", "_MinusScalar", "_scatter_minus_scalar")
def minus_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """x - scalar."""
    data, scalar = matched(data, scalar, is_int)
    return data - scalar


@operator("_rminus_scalar", "_RMinusScalar")
def rminus_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """scalar - x."""
    data, scalar = matched(data, scalar, is_int)
    return scalar - data


@operator("_mul_scalar", "_MulScalar")
def mul_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """x * scalar."""
    data, scalar = matched(data, scalar, is_int)
    return data * scalar


@operator("_div_scalar", "_DivScalar")
def div_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """x / scalar."""
    data, scalar = matched(data, scalar, is_int)
    return (widened(data) / scalar).to(data.dtype)


@operator("_rdiv_scalar", "_RDivScalar")
def rdiv_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """scalar / x."""
    data, scalar = matched(data, scalar, is_int)
    return (scalar / widened(data)).to(data.dtype)


@operator("_mod_scalar", "_ModScalar")
def mod_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """Remainder with the sign of scalar."""
    data, scalar = matched(data, scalar, is_int)
    return torch.remainder(data, scalar)


@operator("_rmod_scalar", "_RModScalar")
def rmod_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """Remainder of scalar by x, with the sign of x."""
    data, scalar = matched(data, scalar, is_int)
    return torch.remainder(torch.full_like(data, scalar), data)


@operator("_power_scalar", "_PowerScalar")
def power_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """x to the power scalar."""
    data, scalar = matched(data, scalar, is_int)
    return (widened(data) ** scalar).to(data.dtype)


@operator("_rpower_scalar", "_RPowerScalar")
def rpower_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """scalar to the power x."""
    data, scalar = matched(data, scalar, is_int)
    return torch.pow(scalar, widened(data)).to(data.dtype)


@operator("_maximum_scalar", "_MaximumScalar")
def maximum_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """The larger of x and scalar."""
    data, scalar = matched(data, scalar, is_int)
    return data.clamp(min=scalar)


@operator("_minimum_scalar", "_MinimumScalar")
def minimum_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """The smaller of x and scalar."""
    data, scalar = matched(data, scalar, is_int)
    return data.clamp(max=scalar)


@operator("_hypot_scalar", "_HypotScalar")
def hypot_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """sqrt(x^2 + scalar^2)."""
    data, scalar = matched(data, scalar, is_int)
    return hypotenuse(data, torch.full_like(data, scalar))


@operator("_equal_scalar", "_EqualScalar")
def equal_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where x == scalar, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return (data == scalar).to(data.dtype)


@operator("_not_equal_scalar", "_NotEqualScalar")
def not_equal_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where x != scalar, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return (data != scalar).to(data.dtype)


@operator("_greater_scalar", "_GreaterScalar", decides=True)
def greater_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where x > scalar, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return (data > scalar).to(data.dtype)


@operator("_greater_equal_scalar", "_GreaterEqualScalar", decides=True)
def greater_equal_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where x >= scalar, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return (data >= scalar).to(data.dtype)


@operator("_lesser_scalar", "_LesserScalar", decides=True)
def lesser_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where x < scalar, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return (data < scalar).to(data.dtype)


@operator("_lesser_equal_scalar", "_LesserEqualScalar", decides=True)
def lesser_equal_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where x <= scalar, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return (data <= scalar).to(data.dtype)


@operator("_logical_and_scalar", "_LogicalAndScalar")
def logical_and_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where both are not 0, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return ((data != 0) & (scalar != 0)).to(data.dtype)


@operator("_logical_or_scalar", "_LogicalOrScalar")
def logical_or_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where one is not 0, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return ((data != 0) | (scalar != 0)).to(data.dtype)


@operator("_logical_xor_scalar", "_LogicalXorScalar")
def logical_xor_scalar(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """1 where exactly one is not 0, else 0."""
    data, scalar = matched(data, scalar, is_int)
    return ((data != 0) ^ (scalar != 0)).to(data.dtype)
