"""What holds for the deformable convolutions whatever the reference: formats, odd input, errors, instruction sets."""

import math
import subprocess

import numpy as np
import pytest
import torch
from deform_conv_cases import CASES, Case
from deform_conv_runs import run
from tolerances import DEFORM_CONV_ISA, ZERO_OFFSETS_ARE_CONV2D
from torch import Tensor

from torch_port.ops import deform_conv2d, modulated_deform_conv2d
from torch_port.ops.library import CPU_LIBRARY

CASE = CASES["edges_of_the_map"]
ISAS = ["plain", "portable", "avx2", "avx512"]


@pytest.fixture
def isa(request):
    """Forces an instruction set; the processor's best one comes back afterwards."""
    try:
        before = torch.ops.dcn.set_isa(request.param)
    except RuntimeError as error:
        pytest.skip(str(error))
    yield request.param
    torch.ops.dcn.set_isa(before)


def arguments(dtype: torch.dtype = torch.float32, case: Case = CASE) -> dict[str, Tensor | None]:
    return {k: None if v is None else torch.tensor(v, dtype=dtype) for k, v in case.arrays().items() if k != "head"}


def modulated(case: Case = CASE, border: str = "zeros", **changed: Tensor | None) -> Tensor:
    given = {**arguments(case=case), **changed}
    return modulated_deform_conv2d(*given.values(), *case.geometry, border=border)


@pytest.mark.parametrize("isa", [i for i in ISAS if i != "plain"], indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["edges_of_the_map", "odd_channels", "weight_groups_4_offset_groups_2", "res5_96_channels_edges",
             "kernel_2x5", "stride_2_dilation_2"])  # fmt: skip
def test_every_instruction_set_computes_cores_function(isa, dtype, name):
    case = CASES[name]
    arrays = case.arrays()
    for border, masked in (("clamp", False), ("zeros", True)):
        ours = run(case, arrays, dtype, border=border, masked=masked)
        torch.ops.dcn.set_isa("plain")
        core = run(case, arrays, dtype, border=border, masked=masked)
        torch.ops.dcn.set_isa(isa)
        for key, expected in core.items():
            allowed = DEFORM_CONV_ISA * torch.finfo(dtype).eps * np.abs(expected).max()
            assert np.abs(ours[key] - expected).max() <= allowed, (key, border)


def test_unknown_instruction_set_is_refused():
    with pytest.raises(RuntimeError, match="set_isa: expected best, avx512, avx2, portable or plain, got mmx"):
        torch.ops.dcn.set_isa("mmx")


@pytest.mark.parametrize("isa", ISAS, indirect=True)
def test_zero_offsets_are_conv2d(isa):
    case = Case(0.0, channels=40, out_channels=70, padding=(2, 2), dilation=(2, 2), offset_groups=4, groups=2, batch=2)
    t = arguments(case=case)
    expected = torch.nn.functional.conv2d(t["input"], t["weight"], t["bias"], *case.geometry, case.groups)
    for border in ("clamp", "zeros"):
        ours = deform_conv2d(t["input"], t["offset"], t["weight"], t["bias"], *case.geometry, border=border)
        torch.testing.assert_close(ours, expected, rtol=0, atol=ZERO_OFFSETS_ARE_CONV2D * expected.abs().max().item())


@pytest.mark.parametrize("isa", ISAS, indirect=True)
@pytest.mark.parametrize("border", ["clamp", "zeros"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30, -1e30, 3e9])
def test_positions_that_no_map_has_sample_zero_and_have_no_gradient(isa, border, bad):
    case = Case(channels=20, out_channels=18, offset_groups=2)
    t = {k: v.requires_grad_() for k, v in arguments(case=case).items()}
    spoilt, cleared = t["offset"].detach().clone(), t["mask"].detach().clone()
    spoilt[:, 4::6] = bad  # y or x of some taps
    hit = (spoilt != t["offset"]).reshape(1, 2, case.taps, 2, *case.out_size).any(3)
    cleared[hit.reshape(cleared.shape)] = 0
    mask = t["mask"].detach().clone()
    mask[hit.reshape(mask.shape)] = math.nan  # not even this gets through
    spoilt.requires_grad_(), mask.requires_grad_()
    output = modulated(case, border, **{**t, "offset": spoilt, "mask": mask})
    expected = modulated(case, border, **{**t, "mask": cleared})
    torch.testing.assert_close(output, expected)
    head = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    for_input, for_offset, for_mask = torch.autograd.grad(output, (t["input"], spoilt, mask), head)
    both = hit[:, :, :, None].expand(-1, -1, -1, 2, -1, -1).reshape(for_offset.shape)
    assert (for_offset[both] == 0).all() and (for_mask[hit.reshape(mask.shape)] == 0).all()
    torch.testing.assert_close(for_input, torch.autograd.grad(expected, t["input"], head)[0])


@pytest.mark.parametrize("isa", ISAS, indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_channels_last_in_is_channels_last_out_with_the_same_numbers(isa, dtype):
    case = Case(channels=12, out_channels=10, batch=2)
    t = {k: v.requires_grad_() for k, v in arguments(dtype, case).items()}
    last = t["input"].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = modulated(case, **t)
    ours = modulated(case, **{**t, "input": last})
    assert expected.is_contiguous() and ours.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours, expected)
    head = torch.randn(expected.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    wanted = [t[name] for name in ("offset", "mask", "weight", "bias")]
    for a, b in zip(
        torch.autograd.grad(ours, [last, *wanted], head.contiguous(memory_format=torch.channels_last)),
        torch.autograd.grad(expected, [t["input"], *wanted], head),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_strided_views_are_read_as_what_they_show():
    t = arguments()
    views = {k: v.repeat_interleave(2, -1)[..., ::2] for k, v in t.items()}
    assert not views["offset"].is_contiguous() and torch.equal(modulated(**views), modulated(**t))


def test_empty_batch_gives_an_empty_batch_and_zero_gradients():
    t = arguments()
    empty = {k: t[k][:0].requires_grad_() for k in ("input", "offset", "mask")}
    weight = t["weight"].requires_grad_()
    output = modulated(**{**t, **empty})
    assert output.shape == (0, CASE.out_channels, *CASE.out_size)
    output.sum().backward()
    assert (weight.grad == 0).all() and empty["input"].grad.shape == empty["input"].shape


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_images_of_no_pixels_give_the_bias(precision: str):
    """Whatever an earlier call left in the memory that is kept for the next one: so many images do not fit the heap's."""
    dtype, images = getattr(torch, precision), 4096
    bad = torch.full((images, 64, 1, 1), float("nan"), dtype=dtype)
    offset, weight = torch.zeros(images, 2, 3, 3, dtype=dtype), torch.ones(8, 64, 1, 1, dtype=dtype)
    deform_conv2d(bad, offset, weight, padding=1)
    bias = torch.arange(8, dtype=dtype)
    output = deform_conv2d(bad[..., :0, :0], offset[..., :2, :2], weight, bias, padding=1)
    assert torch.equal(output, bias.view(8, 1, 1).expand(images, 8, 2, 2))


def test_only_the_gradients_asked_for_are_computed():
    t = arguments()
    full = [v.clone().requires_grad_() for v in t.values()]
    head = torch.ones_like(modulated())
    expected = torch.autograd.grad(modulated(**dict(zip(t, full, strict=True))), full, head)
    for i, name in enumerate(t):
        output = modulated(**{**t, name: full[i]})
        assert torch.equal(torch.autograd.grad(output, full[i], head)[0], expected[i]), name
    wanted = [name == "weight" for name in t]
    parts = torch.ops.dcn.deform_conv2d_backward(
        head, t["input"], t["offset"], t["mask"], t["weight"], *CASE.geometry, "zeros", *wanted
    )
    assert [p.numel() > 0 for p in parts] == wanted


def test_backward_repeats_bit_for_bit():
    case = CASES["res5_64_channels_2_px"]
    arrays = case.arrays()
    first = run(case, arrays, torch.float32, border="clamp", masked=False)
    second = run(case, arrays, torch.float32, border="clamp", masked=False)
    assert all(np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", ["res5_64_channels_2_px", "weight_groups_4_offset_groups_2", "odd_channels"])
def test_the_number_of_threads_changes_rounding_only(name):
    case, before = CASES[name], torch.get_num_threads()
    arrays = case.arrays()
    results = []
    for threads in (1, 5):
        torch.set_num_threads(threads)
        results.append(run(case, arrays, torch.float64, border="zeros", masked=True))
    torch.set_num_threads(before)
    for key, one in results[0].items():
        allowed = DEFORM_CONV_ISA * np.finfo(np.float64).eps * np.abs(one).max()
        assert np.abs(one - results[1][key]).max() <= allowed, key


def test_denormal_numbers_count_as_zero_and_the_callers_mode_stays():
    t = arguments()
    tiny = torch.full_like(t["input"], 1e-40)
    assert (modulated(**{**t, "input": tiny, "bias": None}) == 0).all()
    assert (torch.tensor([1e-40]) * 1.0).item() != 0


SHAPE_ERRORS = {
    "input": (torch.zeros(4, 7, 9), r"input: expected \[N, C, H, W\], got \[4, 7, 9\]"),
    "offset": (torch.zeros(2, 18, 7, 8), r"offset: expected \[2, 2\*G\*9, 7, 9\] .* got \[2, 18, 7, 8\]"),
    "mask": (torch.zeros(2, 8, 7, 9), r"mask: expected \[2, 9, 7, 9\] .* got \[2, 8, 7, 9\]"),
    "weight": (torch.zeros(6, 3, 3, 3), r"weight: expected its second size to divide input's 4 channels, got"),
    "bias": (torch.zeros(5), r"bias: expected \[6\], got \[5\]"),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", SHAPE_ERRORS)
def test_wrong_shape_says_argument_expected_and_got(name, device):
    wrong, message = SHAPE_ERRORS[name]
    t = {k: v.to(device) for k, v in {**arguments(), name: wrong}.items()}
    with pytest.raises(RuntimeError, match="deform_conv2d: " + message):
        modulated(**t)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_wrong_parameter_says_argument_expected_and_got(device):
    t = {k: v.to(device) for k, v in arguments().items()}
    four = (t["input"], t["offset"], t["weight"], t["bias"])
    with pytest.raises(RuntimeError, match=r'border: expected "clamp" .* or "zeros" .* got "wrap"'):
        deform_conv2d(*four, 1, 1, 1, border="wrap")
    with pytest.raises(RuntimeError, match=r"stride: expected two numbers .* from 1 to 1048576, got \(0, 0\)"):
        deform_conv2d(*four, stride=0, padding=1)
    with pytest.raises(RuntimeError, match=r"input: expected a map at least as large as the dilated kernel"):
        deform_conv2d(*four, dilation=9)
    with pytest.raises(RuntimeError, match="weight: expected input's dtype float32, got float64"):
        deform_conv2d(t["input"], t["offset"], t["weight"].double(), padding=1)
    with pytest.raises(RuntimeError, match="mask: expected a tensor, got None: without a mask use deform_conv2d"):
        modulated_deform_conv2d(t["input"], t["offset"], None, t["weight"], padding=1)


def test_map_with_more_pixels_than_an_index_holds_is_refused():
    huge = torch.empty(1, 1, 1 << 16, 1 << 15, device="meta")
    with pytest.raises(
        RuntimeError, match=r"input: expected height and width below 2\^24 and fewer than 2\^31 - 1 pix"
    ):
        deform_conv2d(huge, torch.empty(1, 2, 1 << 16, 1 << 15, device="meta"), torch.empty(1, 1, 1, 1, device="meta"))


def test_the_library_uses_only_the_stable_abi():
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", "-C", CPU_LIBRARY], capture_output=True, text=True, check=True
    )
    foreign = [line for line in symbols.stdout.splitlines() if "at::" in line or "c10::" in line]
    assert "torch_parallel_for" in symbols.stdout and not foreign, foreign
