"""Operators that draw. The distributions are MXNet's, the numbers are PyTorch's."""

import torch
from torch import Tensor

from weights_convert.translate.operators.elementwise import DTYPES
from weights_convert.translate.registry import operator


def drawn_dtype(dtype: str) -> torch.dtype:
    return DTYPES.get(dtype, torch.float32)


@operator("_random_uniform", "uniform", "random_uniform", random=True)
def random_uniform(*, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = (), dtype: str = "None") -> Tensor:
    """Uniform in [low, high)."""
    return torch.rand(shape or (1,), dtype=drawn_dtype(dtype)) * (high - low) + low


@operator("_random_normal", "normal", "random_normal", random=True)
def random_normal(*, loc: float = 0.0, scale: float = 1.0, shape: tuple[int, ...] = (), dtype: str = "None") -> Tensor:
    """Normal with mean loc and standard deviation scale."""
    return torch.randn(shape or (1,), dtype=drawn_dtype(dtype)) * scale + loc


@operator("_random_uniform_like", random=True)
def random_uniform_like(data: Tensor, *, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform in [low, high), in data's shape."""
    return torch.rand_like(data) * (high - low) + low


@operator("_random_normal_like", random=True)
def random_normal_like(data: Tensor, *, loc: float = 0.0, scale: float = 1.0) -> Tensor:
    """Normal, in data's shape."""
    return torch.randn_like(data) * scale + loc


def draws_each(parameter: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The parameter repeated for `shape` draws each."""
    return parameter.reshape(tuple(parameter.shape) + (1,) * len(shape)).expand(tuple(parameter.shape) + tuple(shape))


@operator("_sample_normal", "sample_normal", random=True)
def sample_normal(mu: Tensor, sigma: Tensor, *, shape: tuple[int, ...] = (), dtype: str = "None") -> Tensor:
    """Normal numbers, `shape` for each mean and deviation."""
    centre, spread = draws_each(mu, shape), draws_each(sigma, shape)
    return centre + spread * torch.randn_like(centre)


@operator("_sample_uniform", "sample_uniform", random=True)
def sample_uniform(low: Tensor, high: Tensor, *, shape: tuple[int, ...] = (), dtype: str = "None") -> Tensor:
    """Uniform numbers, `shape` for each range."""
    least, most = draws_each(low, shape), draws_each(high, shape)
    return least + (most - least) * torch.rand_like(least)


@operator("_shuffle", "shuffle", random=True)
def shuffle(data: Tensor) -> Tensor:
    """Rows in a random order."""
    return data[torch.randperm(data.shape[0], device=data.device)]
