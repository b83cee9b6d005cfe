"""Functions of one array, element by element. Of whole numbers they give whole ones, cut toward zero."""

import torch
from torch import Tensor

from weights_convert.translate.operators.whole import (
    cube_root,
    cut,
    factorial_before,
    gamma_function,
    half_away_from_zero,
    half_down,
    inverse_cube_root,
    of_real,
)
from weights_convert.translate.registry import operator

DEGREES = 57.295776367  # 180 / pi in float32, pi in float32 too


@operator("abs")
def abs_of(data: Tensor) -> Tensor:
    """|x|."""
    return of_real(torch.abs, data)


@operator("negative")
def negative(data: Tensor) -> Tensor:
    """-x."""
    return -data


@operator("exp")
def exp(data: Tensor) -> Tensor:
    """e^x."""
    return of_real(torch.exp, data)


@operator("log")
def log(data: Tensor) -> Tensor:
    """Natural logarithm."""
    return of_real(torch.log, data)


@operator("log2")
def log2(data: Tensor) -> Tensor:
    """Logarithm to base 2."""
    return of_real(torch.log2, data)


@operator("log10")
def log10(data: Tensor) -> Tensor:
    """Logarithm to base 10."""
    return of_real(torch.log10, data)


@operator("log1p")
def log1p(data: Tensor) -> Tensor:
    """log(1 + x)."""
    return of_real(torch.log1p, data)


@operator("expm1")
def expm1(data: Tensor) -> Tensor:
    """e^x - 1."""
    return of_real(torch.expm1, data)


@operator("sqrt")
def sqrt(data: Tensor) -> Tensor:
    """Square root."""
    return of_real(torch.sqrt, data)


@operator("rsqrt")
def rsqrt(data: Tensor) -> Tensor:
    """1 / square root."""
    return of_real(torch.rsqrt, data)


@operator("cbrt")
def cbrt(data: Tensor) -> Tensor:
    """Cube root."""
    return of_real(cube_root, data)


@operator("rcbrt")
def rcbrt(data: Tensor) -> Tensor:
    """1 / cube root."""
    return of_real(inverse_cube_root, data)


@operator("square")
def square(data: Tensor) -> Tensor:
    """x^2; of whole numbers in float32, as MXNet has it."""
    return data * data if data.is_floating_point() else cut(data.float() * data.float(), data.dtype)


@operator("reciprocal")
def reciprocal(data: Tensor) -> Tensor:
    """1 / x."""
    return of_real(torch.reciprocal, data)


@operator("sin")
def sin(data: Tensor) -> Tensor:
    """Sine."""
    return of_real(torch.sin, data)


@operator("cos")
def cos(data: Tensor) -> Tensor:
    """Cosine."""
    return of_real(torch.cos, data)


@operator("tan")
def tan(data: Tensor) -> Tensor:
    """Tangent."""
    return of_real(torch.tan, data)


@operator("arcsin")
def arcsin(data: Tensor) -> Tensor:
    """Arc sine."""
    return of_real(torch.asin, data)


@operator("arccos")
def arccos(data: Tensor) -> Tensor:
    """Arc cosine."""
    return of_real(torch.acos, data)


@operator("arctan")
def arctan(data: Tensor) -> Tensor:
    """Arc tangent."""
    return of_real(torch.atan, data)


@operator("sinh")
def sinh(data: Tensor) -> Tensor:
    """Hyperbolic sine."""
    return of_real(torch.sinh, data)


@operator("cosh")
def cosh(data: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    return of_real(torch.cosh, data)


@operator("tanh")
def tanh(data: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return of_real(torch.tanh, data)


@operator("arcsinh")
def arcsinh(data: Tensor) -> Tensor:
    """Inverse hyperbolic sine."""
    return of_real(torch.asinh, data)


@operator("arccosh")
def arccosh(data: Tensor) -> Tensor:
    """Inverse hyperbolic cosine."""
    return of_real(torch.acosh, data)


@operator("arctanh")
def arctanh(data: Tensor) -> Tensor:
    """Inverse hyperbolic tangent."""
    return of_real(torch.atanh, data)


@operator("degrees")
def degrees(data: Tensor) -> Tensor:
    """Radians to degrees."""
    return torch.rad2deg(data) if data.is_floating_point() else cut(data.float() * DEGREES, data.dtype)


@operator("radians")
def radians(data: Tensor) -> Tensor:
    """Degrees to radians."""
    return torch.deg2rad(data) if data.is_floating_point() else cut(torch.deg2rad(data.float()), data.dtype)


@operator("sign")
def sign(data: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return torch.sign(data)


@operator("floor")
def floor(data: Tensor) -> Tensor:
    """Rounded down."""
    return of_real(torch.floor, data)


@operator("ceil")
def ceil(data: Tensor) -> Tensor:
    """Rounded up."""
    return of_real(torch.ceil, data)


@operator("trunc")
def trunc(data: Tensor) -> Tensor:
    """Rounded towards zero."""
    return of_real(torch.trunc, data)


@operator("fix")
def fix(data: Tensor) -> Tensor:
    """Rounded towards zero."""
    return of_real(torch.trunc, data)


@operator("round")
def round_of(data: Tensor) -> Tensor:
    """Rounded to the nearest whole number, halves away from zero."""
    return of_real(half_away_from_zero, data)


@operator("rint")
def rint(data: Tensor) -> Tensor:
    """Rounded to the nearest whole number, halves down."""
    return of_real(half_down, data)


@operator("erf")
def erf(data: Tensor) -> Tensor:
    """Error function."""
    return of_real(torch.erf, data)


@operator("erfinv")
def erfinv(data: Tensor) -> Tensor:
    """Inverse error function."""
    if data.is_floating_point():
        return torch.erfinv(data)
    return cut(torch.erfinv(data.double()).nan_to_num(0.0, torch.inf, -torch.inf), data.dtype)


@operator("gamma")
def gamma(data: Tensor) -> Tensor:
    """Gamma function of positive numbers; of whole ones (n - 1)!, exactly."""
    return gamma_function(data) if data.is_floating_point() else cut(factorial_before(data), data.dtype)


@operator("gammaln")
def gammaln(data: Tensor) -> Tensor:
    """Logarithm of |gamma function|."""
    return of_real(torch.lgamma, data)


@operator("logical_not")
def logical_not(data: Tensor) -> Tensor:
    """1 where x is 0, else 0."""
    return (data == 0).to(data.dtype)


@operator("ones_like")
def ones_like(data: Tensor, *, dtype: str | None = None) -> Tensor:
    """Ones, of the type of data: MXNet takes a dtype here and ignores it."""
    return torch.ones_like(data)


@operator("zeros_like")
def zeros_like(data: Tensor, *, dtype: str | None = None) -> Tensor:
    """Zeros, of the type of data: MXNet takes a dtype here and ignores it."""
    return torch.zeros_like(data)
