"""roi_pool alone; what it shares with psroi_pool is in test_roi_operators.py."""

import numpy as np
import pytest
import torch
from instruction_sets import available, instruction_set
from roi_pooling_cases import ROI_CASES, run_ours

from torch_port.ops.roi_pool import roi_pool


@pytest.mark.mxnet
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_bin_with_nothing_large_is_mxnets_lowest_float_without_gradient(value: float):
    import mxnet as mx

    rois = np.float32([[0, 0, 0, 3, 3]])
    input = torch.full((1, 1, 5, 5), value, requires_grad=True)
    output = roi_pool(input, torch.from_numpy(rois), spatial_scale=1.0, pooled_size=2)
    theirs = mx.nd.ROIPooling(
        mx.nd.array(input.detach().numpy()), mx.nd.array(rois), spatial_scale=1.0, pooled_size=(2, 2)
    )
    np.testing.assert_array_equal(output.detach().numpy(), theirs.asnumpy())
    (gradient,) = torch.autograd.grad(output.sum(), input)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_gradient_goes_to_the_first_of_equal_maxima():
    input = torch.zeros(1, 1, 4, 4, requires_grad=True)
    output = roi_pool(input, torch.tensor([[0.0, 1, 1, 3, 3]]), spatial_scale=1.0, pooled_size=1)
    output.sum().backward()
    expected = torch.zeros(1, 1, 4, 4)
    expected[0, 0, 1, 1] = 1
    assert torch.equal(input.grad, expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [1, 3])
def test_gradient_is_zero_where_no_roi_looked_whatever_lay_in_memory(side: int, memory_format: torch.memory_format):
    input = torch.ones(2, 24, side, side).to(memory_format=memory_format).requires_grad_()
    output = roi_pool(input, torch.tensor([[1.0, 0, 0, 0, 0]]), spatial_scale=1.0, pooled_size=1)
    expected = torch.zeros_like(input)
    expected[1, :, 0, 0] = 1
    for _ in range(3):
        used = torch.full_like(input, np.nan)
        del used  # its memory is likely to be taken next
        (gradient,) = torch.autograd.grad(output.sum(), input, retain_graph=True)
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("name", ["channels_that_do_not_fill_vectors_100", "tied_maxima", "rois_outside"])
def test_every_instruction_set_computes_the_same_bits(name: str, isa: str):
    for dtype in (np.float32, np.float64):
        expected = run_ours("roi_pool", ROI_CASES[name], dtype)
        with instruction_set(isa):
            result = run_ours("roi_pool", ROI_CASES[name], dtype)
        for tensor in expected:
            np.testing.assert_array_equal(result[tensor], expected[tensor], f"{isa} {tensor}")
