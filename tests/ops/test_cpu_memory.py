"""Memory that the CPU kernels keep from call to call."""

import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from torch_port.ops import deform_conv2d

MIB = 2**20


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Maps of 3 MiB and weights of 1 MiB: every buffer of theirs is among those that are kept.
INPUT, OFFSET, WEIGHT = normal(1, 96, 90, 90), normal(1, 18, 90, 90, seed=1), normal(300, 96, 3, 3, seed=2)


def gradients(scale: float) -> list[Tensor]:
    leaves = [(INPUT * scale).requires_grad_(), OFFSET.clone().requires_grad_(), (WEIGHT * scale).requires_grad_()]
    output = deform_conv2d(*leaves, None, 1, 1)
    return [output.detach(), *torch.autograd.grad(output.sum(), leaves)]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_what_an_earlier_call_left_in_memory_does_not_show():
    torch.ops.dcn.free_kept_memory()
    expected = gradients(1.0)
    gradients(float("nan"))
    assert same(gradients(1.0), expected)
    torch.ops.dcn.free_kept_memory()
    assert same(gradients(1.0), expected)


def test_calls_of_several_threads_do_not_share_memory():
    scales = [1.0, 2.0, 3.0, 4.0]
    expected = [gradients(scale) for scale in scales]
    with ThreadPoolExecutor(len(scales)) as pool:
        for _ in range(3):
            assert all(map(same, pool.map(gradients, scales), expected))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_free_kept_memory_gives_pages_back():
    def resident() -> int:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096

    gradients(1.0)
    before = resident()
    torch.ops.dcn.free_kept_memory()
    assert before - resident() > 8 * MIB
