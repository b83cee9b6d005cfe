"""Functions of two arrays whose axes of length 1 are repeated."""

import torch
from torch import Tensor

from weights_convert.translate.operators.binary import hypotenuse, power, quotient
from weights_convert.translate.registry import operator


@operator("broadcast_add", "broadcast_plus")
def broadcast_add(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs + rhs, broadcast."""
    return lhs + rhs


@operator("broadcast_sub", "broadcast_minus")
def broadcast_sub(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs - rhs, broadcast."""
    return lhs - rhs


@operator("broadcast_mul")
def broadcast_mul(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs * rhs, broadcast."""
    return lhs * rhs


@operator("broadcast_div")
def broadcast_div(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs / rhs, broadcast."""
    return quotient(lhs, rhs)


@operator("broadcast_power")
def broadcast_power(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs to the power rhs; broadcast."""
    return power(lhs, rhs)


@operator("broadcast_maximum")
def broadcast_maximum(lhs: Tensor, rhs: Tensor) -> Tensor:
    """The larger; broadcast."""
    return torch.maximum(lhs, rhs)


@operator("broadcast_minimum")
def broadcast_minimum(lhs: Tensor, rhs: Tensor) -> Tensor:
    """The smaller; broadcast."""
    return torch.minimum(lhs, rhs)


@operator("broadcast_mod")
def broadcast_mod(lhs: Tensor, rhs: Tensor) -> Tensor:
    """Remainder with the sign of rhs; broadcast."""
    return torch.remainder(lhs, rhs)


@operator("broadcast_hypot")
def broadcast_hypot(lhs: Tensor, rhs: Tensor) -> Tensor:
    """sqrt(lhs^2 + rhs^2); broadcast."""
    return hypotenuse(lhs, rhs)


@operator("broadcast_equal")
def broadcast_equal(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where equal, else 0; broadcast."""
    return (lhs == rhs).to(lhs.dtype)


@operator("broadcast_not_equal")
def broadcast_not_equal(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where not equal, else 0; broadcast."""
    return (lhs != rhs).to(lhs.dtype)


@operator("broadcast_greater", decides=True)
def broadcast_greater(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where lhs > rhs, else 0; broadcast."""
    return (lhs > rhs).to(lhs.dtype)


@operator("broadcast_greater_equal", decides=True)
def broadcast_greater_equal(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where lhs >= rhs, else 0; broadcast."""
    return (lhs >= rhs).to(lhs.dtype)


@operator("broadcast_lesser", decides=True)
def broadcast_lesser(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where lhs < rhs, else 0; broadcast."""
    return (lhs < rhs).to(lhs.dtype)


@operator("broadcast_lesser_equal", decides=True)
def broadcast_lesser_equal(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where lhs <= rhs, else 0; broadcast."""
    return (lhs <= rhs).to(lhs.dtype)


@operator("broadcast_logical_and")
def broadcast_logical_and(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where both are not 0, else 0; broadcast."""
    return ((lhs != 0) & (rhs != 0)).to(lhs.dtype)


@operator("broadcast_logical_or")
def broadcast_logical_or(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where one is not 0, else 0; broadcast."""
    return ((lhs != 0) | (rhs != 0)).to(lhs.dtype)


@operator("broadcast_logical_xor")
def broadcast_logical_xor(lhs: Tensor, rhs: Tensor) -> Tensor:
    """1 where exactly one is not 0, else 0; broadcast."""
    return ((lhs != 0) ^ (rhs != 0)).to(lhs.dtype)
