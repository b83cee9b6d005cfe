"""roi_pool against MXNet 1.9.1 on the CPU, forward and backward, and its behaviour as a PyTorch operator."""

from dataclasses import dataclass

import numpy as np
import pytest
import roi_cases
import torch
from instruction_sets import available, instruction_set
from witnesses import Witnesses, assert_same_function

from torch_port.ops.roi_pool import roi_pool


@dataclass(frozen=True)
class Case:
    """One call: RoIs, sizes and the operator's parameters."""

    rois: np.ndarray
    channels: int = 3
    pooled_size: tuple[int, int] = (3, 3)
    height: int = 7
    width: int = 9
    batch: int = 1
    spatial_scale: float = 0.125
    steps: int | None = None  # values rounded to 1/steps, so that maxima tie

    def parameters(self) -> dict:
        return dict(spatial_scale=self.spatial_scale, pooled_size=self.pooled_size)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """input, head gradient; values exact in float32."""
        rng = np.random.default_rng(3)
        input = rng.standard_normal((self.batch, self.channels, self.height, self.width)).astype(np.float32)
        if self.steps is not None:
            input = np.round(input * self.steps) / np.float32(self.steps)
        return input, rng.standard_normal((len(self.rois), self.channels, *self.pooled_size)).astype(np.float32)


SMALL = (56.0, 72.0)  # image of the 7 x 9 map at scale 1/8
NETWORK = dict(height=38, width=63, spatial_scale=0.0625, pooled_size=(7, 7))
CASES = {
    "faster_rcnn_256_channels": Case(roi_cases.scattered(10, 600, 1000), channels=256, **NETWORK),
    "channels_that_do_not_fill_vectors_100": Case(roi_cases.scattered(8, 600, 1000, seed=1), channels=100, **NETWORK),
    "rois_at_half_pixels": Case(roi_cases.halves(*SMALL)),
    "rois_at_half_cells": Case(np.float32([[0, 4, 12, 36, 44], [0, 20, 4, 52, 28], [0, -4, -12, 28, 36]])),
    "rois_outside": Case(roi_cases.outside(*SMALL)),
    "tiny_rois": Case(roi_cases.tiny(*SMALL)),
    "whole_image": Case(roi_cases.whole(*SMALL), pooled_size=(4, 4)),
    "reversed_corners": Case(roi_cases.reversed_corners(*SMALL)),
    "oblong_output": Case(roi_cases.scattered(5, *SMALL), pooled_size=(2, 5)),
    "pooled_larger_than_roi": Case(roi_cases.scattered(5, *SMALL), pooled_size=(14, 14)),
    "batch_of_3_images": Case(roi_cases.scattered(9, *SMALL, batch=3), batch=3),
    "tall_map": Case(roi_cases.scattered(6, 160, 40), height=20, width=5),
    "scale_not_exact_in_float32": Case(roi_cases.scattered(6, 70, 90), spatial_scale=0.1),
    "tied_maxima": Case(roi_cases.scattered(8, *SMALL), steps=1, pooled_size=(2, 2)),
    "pooled_1": Case(roi_cases.scattered(6, *SMALL), pooled_size=(1, 1), channels=70),
}


def run_ours(case: Case, dtype: type) -> dict[str, np.ndarray]:
    input, head = (torch.from_numpy(a.astype(dtype)) for a in case.arrays())
    input.requires_grad_()
    output = roi_pool(input, torch.from_numpy(case.rois.astype(dtype)), **case.parameters())
    (gradient,) = torch.autograd.grad(output, input, head)
    return {"output": output.detach().numpy(), "grad_input": gradient.numpy()}


def run_mxnet(case: Case, dtype: type) -> dict[str, np.ndarray]:
    import mxnet as mx

    input, head = (mx.nd.array(a, dtype=dtype) for a in case.arrays())
    input.attach_grad()
    with mx.autograd.record():
        output = mx.nd.ROIPooling(input, mx.nd.array(case.rois, dtype=dtype), **case.parameters())
    output.backward(head)
    return {"output": output.asnumpy(), "grad_input": input.grad.asnumpy()}


@pytest.mark.mxnet
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_mxnet_in_float32_and_float64(name: str):
    case = CASES[name]
    ours32, ours64 = run_ours(case, np.float32), run_ours(case, np.float64)
    mxnet32, mxnet64 = run_mxnet(case, np.float32), run_mxnet(case, np.float64)
    for tensor in mxnet32:
        witnesses = Witnesses(ours32[tensor], ours64[tensor], mxnet32[tensor], mxnet64[tensor])
        assert_same_function(witnesses, f"{name} {tensor}")
        np.testing.assert_array_equal(ours32[tensor], mxnet32[tensor], f"{name} {tensor}: not MXNet's bit for bit")


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rois", [roi_cases.damaged(), roi_cases.enormous()], ids=["nan_and_inf", "1e30"])
def test_roi_that_is_no_roi_pools_to_zero_without_gradient(rois: np.ndarray, dtype: torch.dtype):
    input = torch.rand(1, 4, 7, 9, dtype=dtype, requires_grad=True)
    output = roi_pool(input, torch.from_numpy(rois).to(dtype), spatial_scale=0.125, pooled_size=2)
    (gradient,) = torch.autograd.grad(output.sum(), input)
    assert torch.equal(output, torch.zeros_like(output))
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("image", [-1.0, 2.0])
def test_image_index_out_of_range_is_named(image: float):
    rois = torch.tensor([[1.0, 0, 0, 9, 9], [image, 0, 0, 9, 9]])
    with pytest.raises(RuntimeError, match=r"roi_pool: rois: expected image indices in \[0, 2\), got .* in row 1"):
        roi_pool(torch.zeros(2, 1, 5, 5), rois, spatial_scale=1.0, pooled_size=1)


@pytest.mark.parametrize(("batch", "rows"), [(1, 0), (0, 0)])
def test_no_rois_and_no_images_work(batch: int, rows: int):
    input = torch.randn(batch, 4, 5, 6, requires_grad=True)
    output = roi_pool(input, torch.zeros(rows, 5), spatial_scale=0.5, pooled_size=2)
    assert output.shape == (rows, 4, 2, 2)
    output.sum().backward()
    assert torch.equal(input.grad, torch.zeros_like(input))


def test_memory_formats_and_strides_do_not_change_the_result():
    case = CASES["batch_of_3_images"]
    input, head = (torch.from_numpy(a) for a in case.arrays())
    rois = torch.from_numpy(case.rois)
    plain = input.clone().requires_grad_()
    expected = roi_pool(plain, rois, **case.parameters())
    (expected_grad,) = torch.autograd.grad(expected, plain, head)
    last = input.clone().to(memory_format=torch.channels_last).requires_grad_()
    output = roi_pool(last, torch.cat([rois, rois], 1)[:, :5], **case.parameters())
    (grad,) = torch.autograd.grad(output, last, head)
    assert torch.equal(output, expected) and torch.equal(grad, expected_grad)
    assert output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous()


def test_result_does_not_depend_on_the_number_of_threads():
    case = CASES["faster_rcnn_256_channels"]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run_ours(case, np.float32)
        torch.set_num_threads(3)
        three = run_ours(case, np.float32)
    finally:
        torch.set_num_threads(before)
    for tensor in one:
        np.testing.assert_array_equal(one[tensor], three[tensor])


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("name", ["channels_that_do_not_fill_vectors_100", "tied_maxima", "rois_outside"])
def test_every_instruction_set_computes_the_same_bits(name: str, isa: str):
    for dtype in (np.float32, np.float64):
        expected = run_ours(CASES[name], dtype)
        with instruction_set(isa):
            result = run_ours(CASES[name], dtype)
        for tensor in expected:
            np.testing.assert_array_equal(result[tensor], expected[tensor], f"{isa} {tensor}")


WRONG = {
    "input_dim": (dict(input=(8, 5, 5)), {}, r"input: expected \[N, C, H, W\], got \[8, 5, 5\]"),
    "rois_shape": (dict(rois=(4, 4)), {}, r"rois: expected \[R, 5\] .* got \[4, 4\]"),
    "pooled": ({}, dict(pooled_size=(3, 0)), r"pooled_size: expected 1 to 32768, got 0"),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_argument_is_refused_in_words(name: str, device: str):
    shapes, parameters, message = WRONG[name]
    shapes = {"input": (1, 8, 5, 5), "rois": (4, 5), **shapes}
    tensors = {k: torch.zeros(v, device=device) for k, v in shapes.items()}
    with pytest.raises(RuntimeError, match="roi_pool: " + message):
        roi_pool(**tensors, **{**dict(spatial_scale=0.5, pooled_size=3), **parameters})
