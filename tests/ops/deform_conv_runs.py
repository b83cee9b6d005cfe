"""Runs one case of the deformable convolutions in the port, forward and backward."""

import numpy as np
import torch
from deform_conv_cases import Case

from torch_port.ops import deform_conv2d, modulated_deform_conv2d


def tensors(arrays: dict, dtype: torch.dtype, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return {n: torch.tensor(arrays[n], dtype=dtype, requires_grad=True) for n in names if arrays[n] is not None}


def run(case: Case, arrays: dict, dtype: torch.dtype, *, border: str, masked: bool) -> dict[str, np.ndarray]:
    """{"output": ..., "input": its gradient, "offset": ..., ...}."""
    names = ("input", "offset", "mask", "weight", "bias") if masked else ("input", "offset", "weight", "bias")
    t = tensors(arrays, dtype, names)
    positional = [t.get(name) for name in names]
    function = modulated_deform_conv2d if masked else deform_conv2d
    output = function(*positional, *case.geometry, border=border)
    output.backward(torch.tensor(arrays["head"], dtype=dtype))
    return {"output": output.detach().numpy(), **{name: tensor.grad.numpy() for name, tensor in t.items()}}
