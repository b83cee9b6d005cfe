"""Activations and softmaxes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.operators.elementwise import DTYPES
from weights_convert.translate.operators.whole import of_real
from weights_convert.translate.registry import operator


@operator("Activation")
def activation(data: Tensor, *, act_type: str) -> Tensor:
    """relu, sigmoid, tanh, softrelu (log(1 + e^x)) or softsign."""
    if act_type == "relu":
        return torch.relu(data)
    if act_type == "sigmoid":
        return torch.sigmoid(data)
    if act_type == "tanh":
        return torch.tanh(data)
    if act_type == "softrelu":
        return torch.logaddexp(data, torch.zeros_like(data))
    if act_type == "softsign":
        return F.softsign(data)
    raise ValueError(f"Activation: expected relu, sigmoid, tanh, softrelu or softsign, got {act_type}")


@operator("LeakyReLU")
def leaky_relu(
    data: Tensor,
    gamma: Tensor | None = None,
    *,
    act_type: str = "leaky",
    slope: Single = 0.25,
    lower_bound: Single = 0.125,
    upper_bound: Single = 0.334,
    training: bool = False,
) -> Tensor:
    """leaky, prelu (gamma [C] or [1] on axis 1), elu (slope 0.25!), selu, gelu (by erf), rrelu (mean slope in evaluation)."""
    if act_type == "leaky":
        return F.leaky_relu(data, slope)
    if act_type == "prelu":
        return F.prelu(data, gamma.flatten())
    if act_type == "elu":
        return F.elu(data, slope)
    if act_type == "selu":
        return F.selu(data)
    if act_type == "gelu":
        return F.gelu(data)
    if act_type == "rrelu":
        return F.rrelu(data, lower_bound, upper_bound, training)
    raise ValueError(f"LeakyReLU: expected leaky, prelu, elu, selu, gelu or rrelu, got {act_type}")


@operator("relu")
def relu(data: Tensor) -> Tensor:
    """max(x, 0)."""
    return torch.relu(data)


@operator("sigmoid")
def sigmoid(data: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return of_real(torch.sigmoid, data)


@operator("hard_sigmoid")
def hard_sigmoid(data: Tensor, *, alpha: Single = 0.2, beta: Single = 0.5) -> Tensor:
    """alpha * x + beta, cut to [0, 1]."""
    return (alpha * data + beta).clamp(0, 1)


@operator("softsign")
def softsign(data: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return of_real(F.softsign, data)


@operator("SoftmaxActivation")
def softmax_activation(data: Tensor, *, mode: str = "instance") -> Tensor:
    """Softmax over axis 1 (mode channel) or over the last (mode instance; MXNet's documentation says all but the first)."""
    return torch.softmax(data, 1 if mode == "channel" else -1)


def within_length(data: Tensor, length: Tensor, axis: int) -> Tensor:
    """bool, like data: whether an element lies before its row's length on `axis`."""
    place = torch.arange(data.shape[axis], device=data.device)
    place = place.reshape([-1 if each == axis % data.dim() else 1 for each in range(data.dim())])
    return place < length.long().unsqueeze(axis)


def in_type(values: Tensor, dtype: str | None) -> Tensor:
    return values if dtype is None else values.to(DTYPES[dtype])


@operator("softmax")
def softmax(
    data: Tensor,
    length: Tensor | None = None,
    *,
    axis: int = -1,
    temperature: float | None = None,
    use_length: bool = False,
    dtype: str | None = None,
) -> Tensor:
    """Softmax of data / temperature over one axis, in data's type or `dtype`; elements beyond `length` come out as 0."""
    logits = data / temperature if temperature else data
    if not use_length:
        return in_type(torch.softmax(logits, axis), dtype)
    inside = within_length(data, length, axis)
    return in_type(torch.softmax(logits.masked_fill(~inside, -math.inf), axis).masked_fill(~inside, 0), dtype)


@operator("softmin")
def softmin(
    data: Tensor,
    *,
    axis: int = -1,
    temperature: float | None = None,
    use_length: bool = False,
    dtype: str | None = None,
) -> Tensor:
    """Softmax of -data / temperature over one axis."""
    return in_type(torch.softmax(-data / temperature if temperature else -data, axis), dtype)


@operator("log_softmax")
def log_softmax(
    data: Tensor,
    *,
    axis: int = -1,
    temperature: float | None = None,
    use_length: bool = False,
    dtype: str | None = None,
) -> Tensor:
    """Logarithm of softmax over one axis."""
    return in_type(torch.log_softmax(data / temperature if temperature else data, axis), dtype)
