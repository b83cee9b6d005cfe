"""Functions of one array, element by element."""

import torch
from torch import Tensor

from weights_convert.translate.registry import operator


@operator("abs")
def abs_of(data: Tensor) -> Tensor:
    """|x|."""
    return torch.abs(data)


@operator("negative")
def negative(data: Tensor) -> Tensor:
    """-x."""
    return -data


@operator("exp")
def exp(data: Tensor) -> Tensor:
    """e^x."""
    return torch.exp(data)


@operator("log")
def log(data: Tensor) -> Tensor:
    """Natural logarithm."""
    return torch.log(data)


@operator("log2")
def log2(data: Tensor) -> Tensor:
    """Logarithm to base 2."""
    return torch.log2(data)


@operator("log10")
def log10(data: Tensor) -> Tensor:
    """Logarithm to base 10."""
    return torch.log10(data)


@operator("log1p")
def log1p(data: Tensor) -> Tensor:
    """log(1 + x)."""
    return torch.log1p(data)


@operator("expm1")
def expm1(data: Tensor) -> Tensor:
    """e^x - 1."""
    return torch.expm1(data)


@operator("sqrt")
def sqrt(data: Tensor) -> Tensor:
    """Square root."""
    return torch.sqrt(data)


@operator("rsqrt")
def rsqrt(data: Tensor) -> Tensor:
    """1 / square root."""
    return torch.rsqrt(data)


@operator("cbrt")
def cbrt(data: Tensor) -> Tensor:
    """Cube root."""
    return torch.sign(data) * torch.abs(data) ** (1 / 3)


@operator("rcbrt")
def rcbrt(data: Tensor) -> Tensor:
    """1 / cube root."""
    return torch.sign(data) * torch.abs(data) ** (-1 / 3)


@operator("square")
def square(data: Tensor) -> Tensor:
    """x^2."""
    return data * data


@operator("reciprocal")
def reciprocal(data: Tensor) -> Tensor:
    """1 / x."""
    return torch.reciprocal(data)


@operator("sin")
def sin(data: Tensor) -> Tensor:
    """Sine."""
    return torch.sin(data)


@operator("cos")
def cos(data: Tensor) -> Tensor:
    """Cosine."""
    return torch.cos(data)


@operator("tan")
def tan(data: Tensor) -> Tensor:
    """Tangent."""
    return torch.tan(data)


@operator("arcsin")
def arcsin(data: Tensor) -> Tensor:
    """Arc sine."""
    return torch.asin(data)


@operator("arccos")
def arccos(data: Tensor) -> Tensor:
    """Arc cosine."""
    return torch.acos(data)


@operator("arctan")
def arctan(data: Tensor) -> Tensor:
    """Arc tangent."""
    return torch.atan(data)


@operator("sinh")
def sinh(data: Tensor) -> Tensor:
    """Hyperbolic sine."""
    return torch.sinh(data)


@operator("cosh")
def cosh(data: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    return torch.cosh(data)


@operator("tanh")
def tanh(data: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(data)


@operator("arcsinh")
def arcsinh(data: Tensor) -> Tensor:
    """Inverse hyperbolic sine."""
    return torch.asinh(data)


@operator("arccosh")
def arccosh(data: Tensor) -> Tensor:
    """Inverse hyperbolic cosine."""
    return torch.acosh(data)


@operator("arctanh")
def arctanh(data: Tensor) -> Tensor:
    """Inverse hyperbolic tangent."""
    return torch.atanh(data)


@operator("degrees")
def degrees(data: Tensor) -> Tensor:
    """Radians to degrees."""
    return torch.rad2deg(data)


@operator("radians")
def radians(data: Tensor) -> Tensor:
    """Degrees to radians."""
    return torch.deg2rad(data)


@operator("sign")
def sign(data: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return torch.sign(data)


@operator("floor")
def floor(data: Tensor) -> Tensor:
    """Rounded down."""
    return torch.floor(data)


@operator("ceil")
def ceil(data: Tensor) -> Tensor:
    """Rounded up."""
    return torch.ceil(data)


@operator("trunc")
def trunc(data: Tensor) -> Tensor:
    """Rounded towards zero."""
    return torch.trunc(data)


@operator("fix")
def fix(data: Tensor) -> Tensor:
    """Rounded towards zero."""
    return torch.trunc(data)


@operator("round")
def round_of(data: Tensor) -> Tensor:
    """Rounded to the nearest whole number, halves away from zero."""
    return torch.sign(data) * torch.floor(torch.abs(data) + 0.5)


@operator("rint")
def rint(data: Tensor) -> Tensor:
    """Rounded to the nearest whole number, halves down."""
    return torch.ceil(data - 0.5)


@operator("erf")
def erf(data: Tensor) -> Tensor:
    """Error function."""
    return torch.erf(data)


@operator("erfinv")
def erfinv(data: Tensor) -> Tensor:
    """Inverse error function."""
    return torch.erfinv(data)


@operator("gamma")
def gamma(data: Tensor) -> Tensor:
    """Gamma function of positive numbers."""
    return torch.exp(torch.lgamma(data))


@operator("gammaln")
def gammaln(data: Tensor) -> Tensor:
    """Logarithm of |gamma function|."""
    return torch.lgamma(data)


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
