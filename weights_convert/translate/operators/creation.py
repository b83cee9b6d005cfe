"""Arrays from nothing. A length of 0 is one that MXNet infers from the consumers; here it is 1 and broadcasts."""

import torch
from torch import Tensor

from weights_convert.translate.operators.elementwise import DTYPES
from weights_convert.translate.registry import operator


def known(shape: tuple[int, ...]) -> list[int]:
    return [length or 1 for length in shape]


@operator("_zeros")
def zeros(*, shape: tuple[int, ...] = (), dtype: str = "float32") -> Tensor:
    """Zeros."""
    return torch.zeros(known(shape), dtype=DTYPES[dtype])


@operator("_zeros_without_dtype")
def zeros_without_dtype(*, shape: tuple[int, ...] = (), dtype: str = "float32") -> Tensor:
    """Zeros."""
    return torch.zeros(known(shape), dtype=DTYPES.get(dtype, torch.float32))


@operator("_ones")
def ones(*, shape: tuple[int, ...] = (), dtype: str = "float32") -> Tensor:
    """Ones."""
    return torch.ones(known(shape), dtype=DTYPES[dtype])


@operator("_full")
def full(*, shape: tuple[int, ...] = (), value: float, dtype: str = "float32") -> Tensor:
    """One value everywhere."""
    return torch.full(known(shape), value, dtype=DTYPES[dtype])


@operator("_arange")
def arange(
    *,
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool = False,
    dtype: str = "float32",
) -> Tensor:
    """start, start + step, ... below stop (without a stop: from 0 to start), each number `repeat` times."""
    first, last = (0.0, start) if stop is None else (start, stop)
    return torch.arange(first, last, step, dtype=DTYPES[dtype]).repeat_interleave(repeat)


@operator("_linspace")
def linspace(
    *,
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool = False,
    num: int,
    endpoint: bool = True,
    dtype: str = "float32",
) -> Tensor:
    """num numbers evenly spaced from start to stop, which is left out without endpoint."""
    count = num if endpoint else num + 1
    return torch.linspace(start, stop, count, dtype=DTYPES[dtype])[:num]


@operator("_eye")
def eye(*, N: int, M: int = 0, k: int = 0, dtype: str = "float32") -> Tensor:
    """N x M with ones on the k-th diagonal."""
    return torch.ones((N, M or N), dtype=DTYPES[dtype]).triu(k).tril(k)
