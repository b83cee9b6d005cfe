"""What psroi_pool and roi_pool have in common: MXNet 1.9.1 bit for bit, and their behaviour as PyTorch operators."""

import numpy as np
import pytest
import roi_cases
import torch
from roi_pooling_cases import CASES, OPERATORS, run_mxnet, run_ours
from witnesses import Witnesses, assert_same_function

EACH = pytest.mark.parametrize("operator", OPERATORS)
EACH_CASE = pytest.mark.parametrize("operator, name", [(o, name) for o, cases in CASES.items() for name in cases])
# One small call: 4 channels in, scale and P to be filled in.
SIMPLE = {"psroi_pool": dict(output_dim=1, group_size=2, pooled_size=2), "roi_pool": dict(pooled_size=2)}
CHANNELS_OUT = {"psroi_pool": 1, "roi_pool": 4}


@pytest.mark.mxnet
@EACH_CASE
def test_agrees_with_mxnet_in_float32_and_float64(operator: str, name: str):
    case = CASES[operator][name]
    ours32, ours64 = run_ours(operator, case, np.float32), run_ours(operator, case, np.float64)
    mxnet32, mxnet64 = run_mxnet(operator, case, np.float32), run_mxnet(operator, case, np.float64)
    for tensor in mxnet32:
        witnesses = Witnesses(ours32[tensor], ours64[tensor], mxnet32[tensor], mxnet64[tensor])
        assert_same_function(witnesses, f"{name} {tensor}")
        np.testing.assert_array_equal(ours32[tensor], mxnet32[tensor], f"{name} {tensor}: not MXNet's bit for bit")


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rois", [roi_cases.damaged(), roi_cases.enormous()], ids=["nan_and_inf", "1e30"])
def test_roi_that_is_no_roi_pools_to_zero_without_gradient(operator: str, rois: np.ndarray, dtype: torch.dtype):
    input = torch.rand(1, 4, 7, 9, dtype=dtype, requires_grad=True)
    output = OPERATORS[operator](input, torch.from_numpy(rois).to(dtype), spatial_scale=0.125, **SIMPLE[operator])
    (gradient,) = torch.autograd.grad(output.sum(), input)
    assert torch.equal(output, torch.zeros_like(output))
    assert torch.equal(gradient, torch.zeros_like(gradient))


@EACH
@pytest.mark.parametrize("image", [-1.0, 2.0])
def test_image_index_out_of_range_is_named(operator: str, image: float):
    rois = torch.tensor([[1.0, 0, 0, 9, 9], [image, 0, 0, 9, 9]])
    with pytest.raises(RuntimeError, match=operator + r": rois: expected image indices in \[0, 2\), got .* in row 1"):
        OPERATORS[operator](torch.zeros(2, 4, 5, 5), rois, spatial_scale=1.0, **SIMPLE[operator])


@EACH
@pytest.mark.parametrize("batch", [1, 0])
def test_no_rois_and_no_images_work(operator: str, batch: int):
    input = torch.randn(batch, 4, 5, 6, requires_grad=True)
    output = OPERATORS[operator](input, torch.zeros(0, 5), spatial_scale=0.5, **SIMPLE[operator])
    assert output.shape == (0, CHANNELS_OUT[operator], 2, 2)
    output.sum().backward()
    assert torch.equal(input.grad, torch.zeros_like(input))


@EACH
def test_memory_formats_and_strides_do_not_change_the_result(operator: str):
    case = CASES[operator]["batch_of_3_images"]
    input, head = (torch.from_numpy(a) for a in case.arrays())
    rois = torch.from_numpy(case.rois)
    plain = input.clone().requires_grad_()
    expected = OPERATORS[operator](plain, rois, **case.parameters())
    (expected_grad,) = torch.autograd.grad(expected, plain, head)
    last = input.clone().to(memory_format=torch.channels_last).requires_grad_()
    output = OPERATORS[operator](last, torch.cat([rois, rois], 1)[:, :5], **case.parameters())
    (grad,) = torch.autograd.grad(output, last, head)
    assert torch.equal(output, expected) and torch.equal(grad, expected_grad)
    assert output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous()


@pytest.mark.parametrize(
    "operator, name", [("psroi_pool", "rfcn_boxes_392_channels"), ("roi_pool", "faster_rcnn_256_channels")]
)
def test_result_does_not_depend_on_the_number_of_threads(operator: str, name: str):
    case = CASES[operator][name]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run_ours(operator, case, np.float32)
        torch.set_num_threads(3)
        three = run_ours(operator, case, np.float32)
    finally:
        torch.set_num_threads(before)
    for tensor in one:
        np.testing.assert_array_equal(one[tensor], three[tensor])


SHAPES_WRONG = {
    "input_dim": (dict(input=(8, 5, 5)), {}, r"input: expected \[N, C, H, W\], got \[8, 5, 5\]"),
    "rois_shape": (dict(rois=(4, 4)), {}, r"rois: expected \[R, 5\] .* got \[4, 4\]"),
}
WRONG = {
    "psroi_pool": {
        **SHAPES_WRONG,
        "channels": (dict(input=(1, 7, 5, 5)), {}, r"input: expected output_dim \* group_size\^2 = 8 channels, got 7"),
        "pooled": ({}, dict(pooled_size=0), r"pooled_size: expected 1 to 32768, got 0"),
        "group": ({}, dict(group_size=-1), r"group_size: expected 1 to 32768, got -1"),
    },
    "roi_pool": {**SHAPES_WRONG, "pooled": ({}, dict(pooled_size=(3, 0)), r"pooled_size: expected 1 to 32768, got 0")},
}
RIGHT = {"psroi_pool": dict(output_dim=2, pooled_size=3, group_size=2), "roi_pool": dict(pooled_size=3)}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("operator, name", [(o, name) for o, wrong in WRONG.items() for name in wrong])
def test_wrong_argument_is_refused_in_words(operator: str, name: str, device: str):
    shapes, parameters, message = WRONG[operator][name]
    shapes = {"input": (1, 8, 5, 5), "rois": (4, 5), **shapes}
    tensors = {k: torch.zeros(v, device=device) for k, v in shapes.items()}
    with pytest.raises(RuntimeError, match=f"{operator}: {message}"):
        OPERATORS[operator](**tensors, spatial_scale=0.5, **{**RIGHT[operator], **parameters})
