"""Argument checks that the RoI operators share in their fake kernels: the words of csrc/cpu/roi_arguments.h."""

from typing import NoReturn

import torch
from torch import Tensor


def refuse(operator: str, message: str) -> NoReturn:
    raise RuntimeError(f"{operator}: {message}")


def dtype_text(t: Tensor) -> str:
    return str(t.dtype).removeprefix("torch.")


def check_positive(operator: str, name: str, value: int) -> None:
    if not 1 <= value <= 32768:
        refuse(operator, f"{name}: expected 1 to 32768, got {value}")


def check_map_and_rois(operator: str, input: Tensor, rois: Tensor) -> None:
    if input.dim() != 4:
        refuse(operator, f"input: expected [N, C, H, W], got {list(input.shape)}")
    if rois.dim() != 2 or rois.shape[1] != 5:
        refuse(operator, f"rois: expected [R, 5] = (image index, x1, y1, x2, y2), got {list(rois.shape)}")


def empty_like_format(like: Tensor, shape: tuple) -> Tensor:
    """An empty tensor of that shape, channels_last when `like` is."""
    last = not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        shape,
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
