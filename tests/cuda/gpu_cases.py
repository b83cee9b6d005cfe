"""Shapes and tensors of the GPU tests.

What does not need a GPU in them also runs on the CPU, in every test run: a slip in a test then shows without one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

EACH_DEVICE = pytest.mark.parametrize(
    "device", [pytest.param("cpu", id="cpu"), pytest.param("cuda", id="cuda", marks=pytest.mark.cuda)]
)
SHAPES = {  # N, C, H, W, O, kernel, stride, padding, dilation, groups, G
    "one_chunk": (1, 32, 9, 10, 16, 3, 1, 1, 1, 1, 1),
    "partial_tiles": (2, 64, 13, 11, 200, 3, 1, 2, 2, 1, 2),
    "two_channel_tiles": (1, 128, 8, 9, 520, 1, 1, 0, 1, 1, 4),
    "stride_2": (2, 64, 15, 17, 96, 3, 2, 1, 1, 1, 1),
    "weight_groups": (1, 128, 9, 9, 64, 3, 1, 1, 1, 2, 2),
    "channels_that_do_not_fill_chunks": (2, 40, 14, 12, 24, 3, 1, 1, 1, 1, 1),
    "groups_that_cut_across_each_other": (1, 192, 9, 8, 16, 3, 1, 1, 1, 2, 3),
    "small_map_many_channels": (1, 512, 7, 7, 512, 3, 1, 1, 1, 1, 4),
    "does_not_fit_tiles": (2, 12, 9, 7, 10, 3, 1, 1, 1, 2, 3),
}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@contextmanager
def fused(allowed: bool, device: str = "cuda") -> Iterator[None]:
    """Whether the fused CUDA kernels may run; on the CPU there is nothing to choose."""
    if device == "cpu":
        yield
        return
    before = torch.ops.dcn.set_cuda_fused(allowed)
    try:
        yield
    finally:
        torch.ops.dcn.set_cuda_fused(before)


def make(name: str, dtype: torch.dtype, channels_last: bool = False, device: str = "cuda") -> tuple[dict, dict]:
    n, c, h, w, o, k, stride, pad, dilation, groups, offset_groups = SHAPES[name]
    generator = torch.Generator().manual_seed(3)
    out = [(size + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for size in (h, w)]

    def normal(*shape, scale=1.0):
        return (scale * torch.randn(shape, generator=generator)).to(device, dtype)

    tensors = {
        "input": normal(n, c, h, w),
        "offset": normal(n, 2 * offset_groups * k * k, *out, scale=2),
        "mask": normal(n, offset_groups * k * k, *out),
        "weight": normal(o, c // groups, k, k, scale=0.1),
        "bias": normal(o),
    }
    if channels_last:
        tensors["input"] = tensors["input"].contiguous(memory_format=torch.channels_last)
    return tensors, {"stride": stride, "padding": pad, "dilation": dilation}


def on_cpu64(tensors: dict) -> dict:
    return {name: t.detach().cpu().double() for name, t in tensors.items()}
