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


EITHER = pytest.mark.parametrize("format", [torch.contiguous_format, LAST], ids=["contiguous", "channels_last"])
IN_EITHER = [name for name in OPERATORS if name != "roi_pool"]


@EITHER
@pytest.mark.parametrize("name", IN_EITHER)
def test_forward_reads_and_writes_either_format_in_place(name: str, format: torch.memory_format):
    assert copies(OPERATORS[name], normal(2, 8, 7, 9).to(memory_format=format)) == []


@EITHER
@pytest.mark.parametrize("name", OPERATORS)
def test_backward_reads_and_writes_either_format_in_place(name: str, format: torch.memory_format):
    input = normal(2, 8, 7, 9).to(memory_format=format).requires_grad_()
    output = OPERATORS[name](input)
    head = torch.ones_like(output)
    assert copies(lambda: torch.autograd.grad(output, input, head, retain_graph=True)) == []


def test_roi_pool_copies_what_is_not_channels_last():
    """Its maxima are of vectors of channels."""
    plain = normal(2, 8, 7, 9)
    assert copies(OPERATORS["roi_pool"], plain.to(memory_format=LAST)) == []
    assert copies(OPERATORS["roi_pool"], plain) == ["aten::clone", "aten::copy_"]


@EITHER
def test_heads_of_the_other_format_give_the_same_gradients(format: torch.memory_format):
    other = LAST if format == torch.contiguous_format else torch.contiguous_format
    for name, operator in OPERATORS.items():
        input = normal(2, 8, 7, 9).to(memory_format=format).requires_grad_()
        output = operator(input)
        head = normal(*output.shape)
        given = (head.contiguous(memory_format=f) for f in (format, other))
        one, two = (torch.autograd.grad(output, input, h, retain_graph=True)[0] for h in given)
        assert torch.equal(one, two), name
