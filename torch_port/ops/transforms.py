"""What every operator needs around its kernels: autograd, forward mode and vmap, also through `torch.ops.dcn`.

`torch.library.register_autograd` returns a silent zero tangent in forward mode and fails under `torch.func.grad`, so
operators register their own kernel for the Autograd key: it differentiates backwards through an `autograd.Function`,
and forwards through a composite of differentiable PyTorch operations.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._functorch.autograd_function import enable_single_level_autograd_function
from torch.autograd import forward_ad

from torch_port.ops.library import tell_kernels_about_settings

LIBRARY = torch.library.Library("dcn", "IMPL")
PLAIN = (Tensor, torch.nn.Parameter)


def has_tangent(*tensors: Tensor | None) -> bool:
    """Whether forward-mode differentiation (torch.func.jvp, forward_ad) follows one of the tensors."""
    if forward_ad._current_level < 0:
        return False
    return any(t is not None and forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether reverse-mode differentiation must record this call."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def below_autograd(operator: Callable, *args: Any, **kwargs: Any) -> Any:
    """Calls the operator's kernel from inside its Autograd kernel."""
    tell_kernels_about_settings()
    with torch._C._AutoDispatchBelowAutograd():
        return operator(*args, **kwargs)


def called(operator: Callable, tensors: tuple[Tensor | None, ...], *args: Any) -> Any:
    """`operator(*tensors, *args)`, straight to its kernel where nobody records the call: no gradient, transform, tracer,
    tensor of another class or mode. The way through the Autograd kernel takes longer, which a small map would feel."""
    straight = (
        not torch.compiler.is_compiling()
        and torch._C._functorch.maybe_current_level() is None
        and forward_ad._current_level < 0
        and not torch._C._is_torch_function_mode_enabled()
        and all(t is None or type(t) in PLAIN for t in tensors)
        and not needs_gradient(*tensors)
    )
    return below_autograd(operator, *tensors, *args) if straight else operator(*tensors, *args)


def one_level_down(operator: Callable, *args: Any, **kwargs: Any) -> Any:
    """Calls the operator from the forward of an `autograd.Function`, which switches both modes of autograd off.

    A torch.func transform further out, or plain autograd outside of it, must still record the call.
    """
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
        return below_autograd(operator, *args, **kwargs)


def apply_at_this_level(function: type[torch.autograd.Function], *args: Any) -> Any:
    """`function.apply` from inside an Autograd kernel.

    There a torch.func transform has already reached its own level; `apply` would look for the transform again.
    """
    with enable_single_level_autograd_function():
        return super(torch.autograd.Function, function).apply(*args)  # type: ignore[misc]  # its stub lacks it


def register_autograd_kernel(name: str, kernel: Callable) -> None:
    """`kernel(*args, **kwargs)` runs whenever `dcn::name` is called with autograd above it."""
    LIBRARY.impl(name, kernel, "Autograd")


def over_slices(operator: Callable, info: Any, in_dims: tuple, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """One call per slice: right for every operator, no faster than a Python loop."""
    results = []
    for i in range(info.batch_size):
        slices = [a.select(dim, i) if isinstance(dim, int) else a for a, dim in zip(args, in_dims, strict=True)]
        results.append(operator(*slices, **kwargs))
    if isinstance(results[0], tuple):
        stacked = tuple(torch.stack(parts) for parts in zip(*results, strict=True))
        return stacked, tuple(0 for _ in stacked)
    return torch.stack(results), 0


def register_vmap_by_loop(name: str) -> None:
    """Under vmap, one call per slice."""

    def rule(info: Any, in_dims: tuple, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return over_slices(getattr(torch.ops.dcn, name), info, in_dims, *args, **kwargs)

    torch.library.register_vmap(f"dcn::{name}", rule, lib=LIBRARY)


def register_vmap_by_batch(name: str, *, shared: tuple[int, ...], sums: tuple[int, ...] = ()) -> None:
    """Under vmap, one call whose batch holds every slice's images.

    Args:
        shared: which arguments are tensors without images (weight, bias): where one of them is mapped over, and where
            an argument of `sums` asks for a sum over images (the weight's gradient), it is one call per slice.
    """

    def rule(info: Any, in_dims: tuple, *args: Any) -> tuple[Any, Any]:
        operator = getattr(torch.ops.dcn, name)
        if any(in_dims[i] is not None for i in shared) or any(args[i] for i in sums):
            return over_slices(operator, info, in_dims, *args)

        def joined(index: int, value: Any) -> Any:
            if not isinstance(value, Tensor) or index in shared:
                return value
            dim = in_dims[index]
            mapped = value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            return mapped.flatten(0, 1)

        def parted(result: Tensor) -> Tensor:
            """[B*N, ...] -> [B, N, ...]; a gradient nobody asked for stays [0], for every slice."""
            if result.dim() == 1:
                return result.expand(info.batch_size, *result.shape)
            return result.unflatten(0, (info.batch_size, -1 if len(result) else 0))

        results = operator(*(joined(i, a) for i, a in enumerate(args)))
        if isinstance(results, tuple):
            return tuple(parted(r) for r in results), tuple(0 for _ in results)
        return parted(results), 0

    torch.library.register_vmap(f"dcn::{name}", rule, lib=LIBRARY)


def register_autocast_to_float32(name: str) -> None:
    """Under autocast, on the CPU and on CUDA, the operator computes in float32: RoI corners in half precision are off by
    pixels. Its output is float32 then."""
    operator = getattr(torch.ops.dcn, name)
    for key in ("AutocastCPU", "AutocastCUDA"):
        LIBRARY.impl(name, _in_float32(operator, key), key)


def _in_float32(operator: Callable, key: str) -> Callable:
    """torch.library.register_autocast refuses operators with keyword arguments."""
    autocast = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def widened(value: Any) -> Any:
        half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
        return value.float() if half else value

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(autocast):
            return operator(*(widened(a) for a in args), **kwargs)

    return kernel
