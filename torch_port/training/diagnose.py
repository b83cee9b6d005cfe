"""Where a number that is not finite came from."""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn


def tensors_in(value: object) -> list[Tensor]:
    """The floating tensors of a module's output, however nested."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in tensors_in(part)]
    return []


def first_nonfinite(network: nn.Module, forward: Callable[[], object]) -> str | None:
    """Runs `forward` once more and names the first thing in it that is not finite.

    Buffers (moving statistics) are put back afterwards.
    Returns: a phrase that names a parameter, or the output of a module in order of execution; None when all is finite.
    """
    for path, parameter in network.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"parameter {path} is not finite before the forward pass"
    found: list[str] = []

    def watch(path: str) -> Callable:
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            if not found and not all(torch.isfinite(tensor).all() for tensor in tensors_in(output)):
                found.append(f"the output of {path} ({type(module).__name__}) is the first that is not finite")

        return hook

    leaves = [(path, module) for path, module in network.named_modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_hook(watch(path)) for path, module in leaves]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        with torch.no_grad(), suppress(RuntimeError, ValueError):  # a later layer may refuse what is not finite
            forward()
    finally:
        for handle in handles:
            handle.remove()
        for buffer, before in buffers:
            buffer.copy_(before)
    return found[0] if found else None
