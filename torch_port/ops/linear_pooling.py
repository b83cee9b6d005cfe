"""Derivatives of operators that are linear in their first argument: its gradient's gradient is the operator again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torch_port.ops.transforms import (
    apply_at_this_level,
    below_autograd,
    has_tangent,
    needs_gradient,
    one_level_down,
    register_autograd_kernel,
    register_vmap_by_loop,
)


class LinearFunction(torch.autograd.Function):
    """`operator(first, *rest, **kwargs)`; `transpose(gradient, first, *rest, **kwargs)` is its adjoint."""

    @staticmethod
    def forward(operator: Callable, transpose: Callable, kwargs: dict, first: Tensor, *rest: Any) -> Tensor:
        return one_level_down(operator, first, *rest, **kwargs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, ctx.transpose, ctx.kwargs, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        first, *rest = ctx.saved_tensors
        for_first = ctx.transpose(gradient, first, *rest, **ctx.kwargs)
        return None, None, None, for_first, *(None for _ in rest)


def register_linear(name: str, transpose: Callable) -> None:
    """Gives `dcn::name`, linear in its first argument and constant in the others, every derivative and vmap."""
    operator = getattr(torch.ops.dcn, name)

    def kernel(first: Tensor, *rest: Tensor, **kwargs: Any) -> Tensor:
        if has_tangent(first):
            primal, tangent = forward_ad.unpack_dual(first)
            return forward_ad.make_dual(operator(primal, *rest, **kwargs), operator(tangent, *rest, **kwargs))
        if needs_gradient(first):
            return apply_at_this_level(LinearFunction, operator, transpose, kwargs, first, *rest)
        return below_autograd(operator, first, *rest, **kwargs)

    register_autograd_kernel(name, kernel)
    register_vmap_by_loop(name)
