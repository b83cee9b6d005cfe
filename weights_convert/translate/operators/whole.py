"""Functions of real numbers on arrays of whole ones: MXNet computes them in float64 and cuts the result to the array's type."""

from typing import Any

import torch
from torch import Tensor


def cut(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Floating-point numbers as whole ones, toward zero; one that is no number or too large is the lowest of int32 (int64).

    Types of 8 bits keep the low bits of int32, so 300 is 44 and what is no number is 0. That is how x86 converts.
    """
    wide = torch.int64 if dtype == torch.int64 else torch.int32
    ends = torch.iinfo(wide)
    exact = values.double()
    inside = (exact >= float(ends.min)) & (exact < -float(ends.min))
    return torch.where(inside, exact, float(ends.min)).to(torch.int64).to(dtype)


def of_real(function: Any, data: Tensor) -> Tensor:
    """function(data), in data's type."""
    return function(data) if data.is_floating_point() else cut(function(data.double()), data.dtype)


def cube_root(data: Tensor) -> Tensor:
    """Cube root, of cubes of whole numbers exactly."""
    root = torch.sign(data) * torch.abs(data) ** (1 / 3)
    nearest = root.round()
    return torch.where(nearest * nearest * nearest == data, nearest, root)


def inverse_cube_root(data: Tensor) -> Tensor:
    return torch.sign(data) * torch.abs(data) ** (-1 / 3)


def half_away_from_zero(data: Tensor) -> Tensor:
    return torch.sign(data) * torch.floor(torch.abs(data) + 0.5)


def half_down(data: Tensor) -> Tensor:
    return torch.ceil(data - 0.5)


def gamma_function(data: Tensor) -> Tensor:
    """Gamma function of positive numbers."""
    return torch.exp(torch.lgamma(data))


def factorial_before(data: Tensor) -> Tensor:
    """Gamma function of whole numbers: (n - 1)!, not a number below 0, infinite at 0 and beyond what int64 holds."""
    products = torch.arange(1, 21, dtype=torch.float64, device=data.device).cumprod(0)
    table = torch.cat((products.new_tensor([torch.inf, 1.0]), products, products.new_tensor([torch.inf])))
    return torch.where(data < 0, torch.nan, table[data.long().clamp(0, len(table) - 1)])
