"""NumPy arrays to PyTorch tensors and back, bit for bit, bfloat16 included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dcn_tasks.errors import InputError
from weights_convert.dtypes import BFLOAT16

if TYPE_CHECKING:  # imported when first used: files are read with NumPy alone, and `dcn inspect` starts at once
    import torch


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor with its own memory (the array may be a view of a file) and the array's dtype and bits."""
    import torch

    owned = np.array(array, order="C", copy=True)
    if owned.dtype.byteorder == ">":
        owned = owned.astype(owned.dtype.newbyteorder("="))
    if owned.dtype == BFLOAT16:
        return torch.from_numpy(owned.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(owned)


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """A read-only array [*shape] with the tensor's dtype and bits.

    Raises: InputError for a type or a shape that NumPy has not: float8, [0, 2**62].
    """
    import torch

    tensor = tensor.detach().cpu().contiguous()
    try:
        array = tensor.view(torch.int16).numpy().view(BFLOAT16) if tensor.dtype == torch.bfloat16 else tensor.numpy()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"expected a type and a shape that NumPy has, got {tensor.dtype} {list(tensor.shape)}: save it as float32"
        ) from error
    array = array.view()
    array.setflags(write=False)
    return array


def as_array(value: torch.Tensor | np.ndarray) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else to_array(value)
