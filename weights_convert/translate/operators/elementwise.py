"""Arithmetic element by element: of two arrays, of many, cut, cast, passed on."""

import torch
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.registry import operator

DTYPES = {
    "float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "uint8": torch.uint8, "int8": torch.int8, "int32": torch.int32, "int64": torch.int64, "bool": torch.bool,
    "0": torch.float32, "1": torch.float64, "2": torch.float16, "3": torch.uint8, "4": torch.int32, "5": torch.int8,
    "6": torch.int64, "7": torch.bool,
}  # fmt: skip


@operator("add_n", "ElementWiseSum")
def add_n(*args: Tensor) -> Tensor:
    """The sum of any number of arrays, from the left."""
    total = args[0]
    for each in args[1:]:
        total = total + each
    return total


@operator("clip")
def clip(data: Tensor, *, a_min: Single, a_max: Single) -> Tensor:
    """Cut to [a_min, a_max]; whole numbers to the whole parts of these."""
    if data.is_floating_point():
        return data.clamp(a_min, a_max)
    return torch.where(data > a_max, int(a_max), torch.where(data < a_min, int(a_min), data)).to(data.dtype)


@operator("Cast", "cast")
def cast(data: Tensor, *, dtype: str) -> Tensor:
    """Another type; floating point to whole numbers cuts towards zero."""
    return data.to(DTYPES[dtype])


@operator("amp_cast")
def amp_cast(data: Tensor, *, dtype: str) -> Tensor:
    """Another floating-point type; arrays of whole numbers stay."""
    return data.to(DTYPES[dtype]) if data.is_floating_point() else data


@operator("amp_multicast", outputs=lambda a: a["num_outputs"])
def amp_multicast(*data: Tensor, num_outputs: int, cast_narrow: bool = False) -> tuple[Tensor, ...]:
    """All to the widest (or narrowest) floating-point type among them."""
    choose = min if cast_narrow else max
    dtype = choose((each.dtype for each in data if each.is_floating_point()), key=lambda kind: kind.itemsize)
    return tuple(each.to(dtype) for each in data)


@operator("_copy", "identity")
def copy(data: Tensor) -> Tensor:
    """The same."""
    return data


@operator("_CrossDeviceCopy")
def cross_device_copy(data: Tensor) -> Tensor:
    """The same; devices are PyTorch's business."""
    return data


@operator("BlockGrad", "stop_gradient")
def block_grad(data: Tensor) -> Tensor:
    """The same, without a gradient."""
    return data.detach()


@operator("_identity_with_attr_like_rhs")
def identity_with_attr_like_rhs(lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs."""
    return lhs


@operator("cast_storage")
def cast_storage(data: Tensor, *, stype: str) -> Tensor:
    """The same; all arrays are dense here."""
    return data


@operator("_contrib_gradientmultiplier")
def gradient_multiplier(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """The same, with its gradient times a number."""
    return data * scalar + (data * (1 - scalar)).detach() if scalar != 1 else data


@operator("_contrib_quadratic")
def quadratic(data: Tensor, *, a: Single = 0.0, b: Single = 0.0, c: Single = 0.0) -> Tensor:
    """a x^2 + b x + c."""
    return a * data * data + b * data + c


@operator("smooth_l1")
def smooth_l1(data: Tensor, *, scalar: float = 1.0, is_int: bool = True) -> Tensor:
    """(s x)^2 / 2 where |x| < 1/s^2, |x| - 1/(2 s^2) elsewhere."""
    square = scalar * scalar
    return torch.where(data.abs() < 1 / square, 0.5 * square * data * data, data.abs() - 0.5 / square)
