"""deform_psroi_pool's rules on inputs made for them, and its behaviour as a PyTorch operator."""

import numpy as np
import pytest
import roi_cases
import torch
from deform_psroi_cases import CASES, run_ours

from torch_port.ops import deform_psroi_pool


def ramp(axis: int) -> torch.Tensor:
    """A 12 x 16 map whose value is its own x (axis 1) or y (axis 0)."""
    grid = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    return grid[axis][None, None].double()


RAMP = dict(spatial_scale=1.0, output_dim=1, group_size=1, pooled_size=1, part_size=1, trans_std=0.5)


def test_first_offset_channel_moves_x_and_second_moves_y():
    rois = torch.tensor([[0.0, 2, 3, 5, 4]], dtype=torch.float64)  # starts at 1.5, 2.5; 4 wide, 2 high
    offset = torch.tensor([0.25, 0.75], dtype=torch.float64).reshape(1, 2, 1, 1)
    x = deform_psroi_pool(ramp(1), rois, offset, **RAMP)
    y = deform_psroi_pool(ramp(0), rois, offset, **RAMP)
    assert x.item() == pytest.approx(1.5 + 0.25 * 0.5 * 4)
    assert y.item() == pytest.approx(2.5 + 0.75 * 0.5 * 2)


def test_sample_on_an_integer_has_no_offset_gradient():
    rois = torch.tensor([[0.0, 2, 3, 5, 4]], dtype=torch.float64)
    offset = torch.tensor([0.25, 0.5], dtype=torch.float64).reshape(1, 2, 1, 1)  # x = 2 exactly, y = 3 exactly
    offset.requires_grad_()
    noise = torch.randn(1, 1, 12, 16, dtype=torch.float64)
    deform_psroi_pool(noise, rois, offset, **RAMP).sum().backward()
    assert torch.equal(offset.grad, torch.zeros_like(offset))
    with torch.no_grad():
        offset[0, 0] += 0.125  # x = 2.25
    offset.grad = None
    deform_psroi_pool(noise, rois, offset, **RAMP).sum().backward()
    assert offset.grad[0, 0] != 0


def test_sample_at_minus_half_is_clamped_and_beyond_is_skipped():
    offset = torch.zeros(2, 2, 1, 1, dtype=torch.float64)
    offset[1, 0] = -0.01
    rois = torch.tensor([[0.0, 0, 3, 3, 4]] * 2, dtype=torch.float64)  # x starts at -0.5
    pooled = deform_psroi_pool(ramp(1) + 7, rois, offset, **RAMP)
    assert pooled.flatten().tolist() == [7.0, 0.0]


def call(rois: np.ndarray, offset_value: float = 0.3, dtype: torch.dtype = torch.float32):
    """Output and gradients on a small map, for RoIs and offsets that are not ordinary."""
    torch.manual_seed(0)
    input = torch.randn(1, 4, 7, 9, dtype=dtype, requires_grad=True)
    offset = torch.full((len(rois), 2, 2, 2), offset_value, dtype=dtype, requires_grad=True)
    output = deform_psroi_pool(
        input, torch.from_numpy(rois).to(dtype), offset, spatial_scale=0.125, output_dim=1, group_size=2, pooled_size=2,
        sample_per_part=3, trans_std=0.1,
    )  # fmt: skip
    gradients = torch.autograd.grad(output, [input, offset], torch.full_like(output, 2.0))
    return output, *gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rois", [roi_cases.damaged(), roi_cases.enormous()], ids=["nan_and_inf", "1e30"])
def test_roi_that_is_no_roi_pools_to_zero_without_gradient(rois: np.ndarray, dtype: torch.dtype):
    output, grad_input, grad_offset = call(rois, dtype=dtype)
    for t in (output, grad_input, grad_offset):
        assert torch.equal(t, torch.zeros_like(t))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e38])
def test_offset_beyond_reach_pools_to_zero_without_gradient(value: float):
    output, grad_input, grad_offset = call(roi_cases.scattered(3, 56, 72), value)
    for t in (output, grad_input, grad_offset):
        assert torch.equal(t, torch.zeros_like(t))


def test_no_gradient_from_an_empty_bin_even_when_nan_comes_from_above():
    input = torch.randn(1, 1, 5, 5, requires_grad=True)
    offset = torch.zeros(1, 2, 1, 1, requires_grad=True)
    output = deform_psroi_pool(input, torch.tensor([[0.0, 90, 90, 99, 99]]), offset, **RAMP)
    gradients = torch.autograd.grad(output, [input, offset], torch.full_like(output, float("nan")))
    assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients)


@pytest.mark.parametrize("image", [-1.0, 2.0, 1e30])
def test_image_index_out_of_range_is_named(image: float):
    rois = torch.tensor([[1.0, 0, 0, 9, 9], [image, 0, 0, 9, 9]])
    with pytest.raises(RuntimeError, match=r"rois: expected image indices in \[0, 2\), got .* in row 1"):
        deform_psroi_pool(torch.zeros(2, 1, 5, 5), rois, **RAMP)


@pytest.mark.parametrize(("batch", "rows"), [(1, 0), (0, 0)])
def test_no_rois_and_no_images_work(batch: int, rows: int):
    input = torch.randn(batch, 4, 5, 6, requires_grad=True)
    offset = torch.zeros(rows, 2, 3, 3, requires_grad=True)
    output = deform_psroi_pool(
        input, torch.zeros(rows, 5), offset, spatial_scale=0.5, output_dim=1, group_size=2, pooled_size=3
    )
    assert output.shape == (rows, 1, 3, 3)
    output.sum().backward()
    assert torch.equal(input.grad, torch.zeros_like(input))
    assert offset.grad.shape == offset.shape


def test_memory_formats_and_strides_do_not_change_the_result():
    case = CASES["batch_of_3_images"]
    input, offset, head = (torch.from_numpy(a) for a in case.arrays())
    rois = torch.from_numpy(case.rois)
    plain = input.clone().requires_grad_()
    expected = deform_psroi_pool(plain, rois, offset, **case.parameters())
    (expected_grad,) = torch.autograd.grad(expected, plain, head)

    last = input.clone().to(memory_format=torch.channels_last).requires_grad_()
    strided_offset = torch.stack([offset, offset], -1)[..., 0]
    strided_rois = torch.cat([rois, rois], 1)[:, :5]
    output = deform_psroi_pool(last, strided_rois, strided_offset, **case.parameters())
    assert torch.equal(output, expected)
    assert output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous()
    (grad,) = torch.autograd.grad(output, last, head)
    assert torch.equal(grad, expected_grad)

    transposed = input.transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()
    assert torch.equal(deform_psroi_pool(transposed, rois, offset, **case.parameters()), expected)


@pytest.mark.parametrize("wanted", ["input", "offset"])
def test_only_the_gradients_asked_for_are_computed(wanted: str):
    rois, head = torch.from_numpy(roi_cases.scattered(3, 56, 72)), torch.ones(3, 1, 2, 2)
    tensors = {"input": torch.randn(1, 4, 7, 9), "offset": torch.randn(3, 2, 2, 2)}
    parameters = dict(spatial_scale=0.125, output_dim=1, group_size=2, pooled_size=2, sample_per_part=3, trans_std=0.1)
    given = (head, tensors["input"], rois, tensors["offset"])
    both = torch.ops.dcn.deform_psroi_pool_backward(*given, **parameters)
    asked = {"want_input": wanted == "input", "want_offset": wanted == "offset"}
    alone = torch.ops.dcn.deform_psroi_pool_backward(*given, **parameters, **asked)
    for name, one, of_both in zip(tensors, alone, both, strict=True):
        assert torch.equal(one, of_both if name == wanted else torch.zeros(0)), name
    tensors[wanted].requires_grad_()
    output = deform_psroi_pool(tensors["input"], rois, tensors["offset"], **parameters)
    assert torch.equal(torch.autograd.grad(output, tensors[wanted], head)[0], both[wanted == "offset"])


def test_result_does_not_depend_on_the_number_of_threads():
    case = CASES["rfcn_class_scores_196_channels"]
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run_ours(case, np.float32))
    finally:
        torch.set_num_threads(before)
    for tensor in results[0]:
        for other in results[1:]:
            np.testing.assert_array_equal(results[0][tensor], other[tensor])


GOOD = dict(spatial_scale=0.5, output_dim=2, group_size=2, pooled_size=3)
WRONG = {
    "input_dim": (dict(input=(8, 5, 5)), {}, r"input: expected \[N, C, H, W\], got \[8, 5, 5\]"),
    "rois_shape": (dict(rois=(4, 4)), {}, r"rois: expected \[R, 5\] .* got \[4, 4\]"),
    "channels": (dict(input=(1, 7, 5, 5)), {}, r"input: expected output_dim \* group_size\^2 = 8 channels, got 7"),
    "offset_rows": (dict(offset=(3, 2, 3, 3)), {}, r"offset: expected \[4, 2 \* classes, 3, 3\], got \[3, 2, 3, 3\]"),
    "offset_odd": (dict(offset=(4, 3, 3, 3)), {}, r"offset: expected \[4, 2 \* classes, 3, 3\]"),
    "offset_part": (dict(offset=(4, 2, 3, 3)), dict(part_size=2), r"offset: expected \[4, 2 \* classes, 2, 2\]"),
    "classes": (
        dict(offset=(4, 6, 3, 3)),
        {},
        r"offset: expected .* classes that divides output_dim 2, got 3",
    ),
    "pooled": ({}, dict(pooled_size=0), r"pooled_size: expected 1 to 32768, got 0"),
    "samples": ({}, dict(sample_per_part=0), r"sample_per_part: expected 1 to 32768, got 0"),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_argument_is_refused_in_words(name: str, device: str):
    shapes, parameters, message = WRONG[name]
    shapes = {"input": (1, 8, 5, 5), "rois": (4, 5), "offset": (4, 2, 3, 3), **shapes}
    tensors = {k: torch.zeros(v, device=device) for k, v in shapes.items()}
    with pytest.raises(RuntimeError, match="deform_psroi_pool: " + message):
        deform_psroi_pool(**tensors, **{**GOOD, **parameters})


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, on first use of jvp
@pytest.mark.parametrize("name", WRONG)
def test_forward_mode_refuses_in_the_same_words(name: str):
    shapes, parameters, message = WRONG[name]
    shapes = {"input": (1, 8, 5, 5), "rois": (4, 5), "offset": (4, 2, 3, 3), **shapes}
    tensors = {k: torch.zeros(v) for k, v in shapes.items()}
    input = tensors.pop("input")
    with pytest.raises(RuntimeError, match="deform_psroi_pool: " + message):
        torch.func.jvp(lambda a: deform_psroi_pool(a, **tensors, **{**GOOD, **parameters}), (input,), (input,))


def test_second_derivative_refuses_a_gradient_of_another_shape():
    input, rois = torch.zeros(1, 8, 5, 5), torch.zeros(4, 5)
    with pytest.raises(RuntimeError, match=r"deform_psroi_pool: grad: expected .*4, 2, 3, 3"):
        grad = torch.zeros(4, 2, 2, 2, requires_grad=True)
        torch.ops.dcn.deform_psroi_pool_backward(grad, input, rois, None, **GOOD)


def test_rois_of_another_type_are_refused():
    with pytest.raises(RuntimeError, match="rois: expected input's dtype float32, got float64"):
        deform_psroi_pool(torch.zeros(1, 8, 5, 5), torch.zeros(1, 5, dtype=torch.float64), **GOOD)
