"""Stochastic gradient descent with MXNet's momentum buffer, and which parameter gets which rate and decay."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from dcn_tasks.errors import InputError


def parameter_groups(network: nn.Module, *, weight_decay: float, fixed: Iterable[str] = ()) -> list[dict]:
    """One optimiser group per parameter that trains; the fixed ones get requires_grad=False.

    Weight decay goes to convolution weights and batch-normalisation scales, never to biases and shifts. A parameter's
    learning rate is multiplied by the `weight_lr_mult` or `bias_lr_mult` of the module that owns it, or by its `lr_mult`,
    where there is one.

    Args:
        weight_decay: of the decayed ones. fixed: paths of parameters that never move.
    Returns: groups {"params": [p], "name", "lr_mult", "weight_decay"}.
    Raises: InputError for a fixed path that the network does not have.
    Source: MXNet 1.9.1 Optimizer.set_wd_mult (names ending in _weight or _gamma) and lr_mult attributes of graph nodes.
    """
    fixed = set(fixed)
    groups = []
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            parameter.requires_grad_(full not in fixed)
            if full in fixed:
                fixed.discard(full)
                continue
            groups.append(
                {
                    "params": [parameter],
                    "name": full,
                    "lr_mult": getattr(module, f"{name}_lr_mult", getattr(module, "lr_mult", 1.0)),
                    "weight_decay": weight_decay if name == "weight" else 0.0,
                }
            )
    if fixed:
        raise InputError(
            f"parameter_groups: the network has no parameter {', '.join(sorted(fixed))}: see named_parameters()"
        )
    return groups


def as_float32(value: float) -> float:
    """MXNet's optimiser operators keep lr, wd and momentum as float32, also for float64 arrays."""
    return float(np.float32(value))


class SGD(torch.optim.Optimizer):
    """buffer = momentum * buffer - lr * weight_decay * w - lr * grad; w += buffer.

    The learning rate is inside the buffer: when it drops, the old steps keep their size; torch.optim.SGD rescales them.

    Args:
        groups: as parameter_groups returns them; `lr_mult` defaults to 1, `weight_decay` to 0.
        lr: base rate; change it between steps with set_lr. momentum: in [0, 1).
        rescale_grad: factor on every gradient.
    Source: MXNet 1.9.1 sgd_mom_update; bit for bit in tests/training_torch/test_sgd.py.
    """

    def __init__(self, groups: Iterable, *, lr: float, momentum: float = 0.9, rescale_grad: float = 1.0):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "lr_mult": 1.0, "weight_decay": 0.0})
        self.rescale_grad = as_float32(rescale_grad)

    def set_lr(self, lr: float) -> None:
        """The base rate of all groups from the next step on."""
        for group in self.param_groups:
            group["lr"] = lr

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr = as_float32(group["lr"] * group["lr_mult"])
            decay = lr * as_float32(group["weight_decay"])
            momentum = as_float32(group["momentum"])
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                # separate products and differences, as a fused multiply-add would round differently from MXNet
                gradient = parameter.grad * self.rescale_grad if self.rescale_grad != 1 else parameter.grad
                state["momentum"].mul_(momentum).sub_(parameter * decay).sub_(gradient * lr)
                parameter.add_(state["momentum"])
        return loss
