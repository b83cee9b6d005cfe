"""channels_last in, channels_last out, and what is copied on the way."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.profiler import profile

from torch_port import ops

LAST = torch.channels_last
ROIS = torch.tensor([[0.0, 3, 5, 50, 61], [1, 20, 10, 90, 70]])
PS = {"spatial_scale": 0.1, "output_dim": 2, "group_size": 2, "pooled_size": 3}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


OFFSET, MASK, WEIGHT = normal(2, 18, 7, 9), normal(2, 9, 7, 9), normal(6, 8, 3, 3)
CONVOLUTIONS: dict[str, Callable] = {
    "deform_conv2d": lambda x: ops.deform_conv2d(x, OFFSET, WEIGHT, None, 1, 1, border="clamp"),
    "modulated_deform_conv2d": lambda x: ops.modulated_deform_conv2d(x, OFFSET, MASK, WEIGHT, None, 1, 1),
}
OPERATORS: dict[str, Callable] = {
    **CONVOLUTIONS,
    "deform_psroi_pool": lambda x: ops.deform_psroi_pool(x, ROIS, None, **PS),
    "psroi_pool": lambda x: ops.psroi_pool(x, ROIS, **PS),
    "roi_pool": lambda x: ops.roi_pool(x, ROIS, spatial_scale=0.1, pooled_size=3),
}


def copies(function: Callable, *args: Tensor) -> list[str]:
    """PyTorch's own operators that copy, while `function` runs."""
    function(*args)
    with profile() as record:
        function(*args)
    return [event.name for event in record.events() if event.name in ("aten::clone", "aten::copy_", "aten::_to_copy")]


def test_a_copy_is_seen():
    assert copies(lambda x: x.contiguous(), normal(2, 8, 7, 9).to(memory_format=LAST)) == ["aten::clone", "aten::copy_"]


@pytest.mark.parametrize("name", OPERATORS)
def test_output_and_gradient_keep_the_format_of_the_input(name: str):
    plain, last = normal(2, 8, 7, 9).requires_grad_(), normal(2, 8, 7, 9).to(memory_format=LAST).requires_grad_()
    outputs = [OPERATORS[name](x) for x in (plain, last)]
    head = normal(*outputs[0].shape)
    gradients = [torch.autograd.grad(y, x, head)[0] for x, y in zip((plain, last), outputs, strict=True)]
    for from_plain, from_last in (outputs, gradients):
        assert from_plain.is_contiguous() and not from_plain.is_contiguous(memory_format=LAST)
        assert from_last.is_contiguous(memory_format=LAST) and not from_last.is_contiguous()
        torch.testing.assert_close(from_last, from_plain)


@pytest.mark.parametrize("format", [torch.contiguous_format, LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_forward_reads_and_writes_either_format_in_place(name: str, format: torch.memory_format):
    assert copies(CONVOLUTIONS[name], normal(2, 8, 7, 9).to(memory_format=format)) == []


@pytest.mark.parametrize("format", [torch.contiguous_format, LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_backward_reads_and_writes_either_format_in_place(name: str, format: torch.memory_format):
    input = normal(2, 8, 7, 9).to(memory_format=format).requires_grad_()
    output = CONVOLUTIONS[name](input)
    head = torch.ones_like(output)
    assert copies(lambda: torch.autograd.grad(output, input, head, retain_graph=True)) == []
