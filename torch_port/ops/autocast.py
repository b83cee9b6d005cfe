"""deform_conv2d under autocast: the arithmetic in the low precision, positions and masks in float32.

A bfloat16 number has 8 bits: a position of 100.3 px would become 100.5 px. So offsets and masks are handed over in
float32, where the kernels add them to the grid, and only the map, the weight and the bias are rounded. (torchvision
computes all of it in float32 under autocast, which is right and gains nothing.)
"""

from typing import Any

import torch
from torch import Tensor

from torch_port.ops import deform_conv  # noqa: F401  registers what is called below
from torch_port.ops.transforms import LIBRARY


def cpu_types() -> frozenset[torch.dtype]:
    """Which low-precision types the CPU kernels of this build take on this processor: asked by a call of one pixel."""
    taken = set()
    for dtype in (torch.bfloat16, torch.float16):
        one = torch.ones(1, 1, 1, 1, dtype=dtype)
        offset = torch.zeros(1, 2, 1, 1)
        try:
            torch.ops.dcn.deform_conv2d(one, offset, None, one, None, [1, 1], [0, 0], [1, 1], "zeros")
        except RuntimeError:
            continue
        taken.add(dtype)
    return frozenset(taken)


CPU_TYPES = cpu_types()


def precision(device: str) -> torch.dtype:
    """The type that a call under autocast computes in: the chosen one, or float32 where the kernels do not take it."""
    chosen = torch.get_autocast_dtype(device)
    return torch.float32 if device == "cpu" and chosen not in CPU_TYPES else chosen


def register(device: str, key: str) -> None:
    below = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def kernel(input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None,
               *geometry: Any) -> Tensor:  # fmt: skip
        tensors = (input, offset, mask, weight, bias)
        with torch._C._ExcludeDispatchKeyGuard(below):
            if any(t is not None and t.dtype == torch.float64 for t in tensors):  # autocast leaves float64 alone
                return torch.ops.dcn.deform_conv2d(*tensors, *geometry)
            low = precision(device)
            wanted = (low, torch.float32, torch.float32, low, low)
            cast = (t if t is None else t.to(dtype) for t, dtype in zip(tensors, wanted, strict=True))
            return torch.ops.dcn.deform_conv2d(*cast, *geometry)

    LIBRARY.impl("deform_conv2d", kernel, key)


register("cpu", "AutocastCPU")
register("cuda", "AutocastCUDA")
