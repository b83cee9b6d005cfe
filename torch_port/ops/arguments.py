"""Checks of tensors that the fake kernels of all operators share: the words of csrc/arguments/tensors.h."""

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

LOW_PRECISION = (torch.float16, torch.bfloat16)
FLOATING = (torch.float32, torch.float64, *LOW_PRECISION)


def refuse(operator: str, message: str) -> NoReturn:
    raise RuntimeError(f"{operator}: {message}")


def dtype_text(t: Tensor) -> str:
    return str(t.dtype).removeprefix("torch.")


def check_device(operator: str, name: str, t: Tensor, input: Tensor) -> None:
    if t.device != input.device:
        refuse(operator, f"{name}: expected input's device, {input.device}, got {t.device}")


def check_companion(operator: str, name: str, t: Tensor, input: Tensor) -> None:
    if t.dtype != input.dtype:
        refuse(operator, f"{name}: expected input's dtype {dtype_text(input)}, got {dtype_text(t)}")
    check_device(operator, name, t, input)


def check_positions(operator: str, name: str, t: Tensor, input: Tensor) -> None:
    """Offsets, masks and RoIs may be float32 beside a float16 or bfloat16 map: positions need the bits."""
    if t.dtype == torch.float32 and input.dtype in LOW_PRECISION:
        return check_device(operator, name, t, input)
    check_companion(operator, name, t, input)


def check_grad(operator: str, grad: Tensor, input: Tensor, expected: Sequence[int]) -> None:
    if list(grad.shape) != list(expected):
        refuse(operator, f"grad: expected {list(expected)}, got {list(grad.shape)}")
    check_companion(operator, "grad", grad, input)


def check_float32_or_float64(operator: str, name: str, t: Tensor) -> None:
    if t.dtype not in (torch.float32, torch.float64):
        refuse(operator, f"{name}: expected float32 or float64, got {dtype_text(t)}: use .float()")


def check_like(operator: str, name: str, t: Tensor, whose: str, like: Tensor) -> None:
    """whose: the possessive of `like`'s name."""
    if t.dtype != like.dtype:
        refuse(operator, f"{name}: expected {whose} type {dtype_text(like)}, got {dtype_text(t)}")
    check_device(operator, name, t, like)


def empty_like_format(like: Tensor, shape: Sequence[int]) -> Tensor:
    """An empty tensor of that shape, channels_last when `like` is."""
    last = not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device, memory_format=layout)
