"""bfloat16 and float16 maps on the CPU: sums and positions are float32, with a matrix unit or without."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from deform_conv_cases import CASES, Case
from deform_conv_runs import run as run_in
from instruction_sets import instruction_set
from tolerances import LOW_PRECISION

from torch_port.ops import deform_conv2d, modulated_deform_conv2d

WIDE = {
    "two_tiles": Case(channels=96, out_channels=40, height=20, width=23, offset_groups=3, batch=2),
    "groups": Case(channels=64, out_channels=48, groups=2, offset_groups=2, batch=2, stride=(2, 1)),
    "odd_channels_kernel_2x5": Case("edges", channels=45, out_channels=19, kernel=(2, 5), padding=(0, 3)),
    "too_few_channels_for_a_tile": Case(channels=6, out_channels=4),
}
MAPS = ("input", "weight", "bias")


@pytest.fixture(params=["best", "avx2"])
def engine(request) -> Iterator[str]:
    """The matrix unit where there is one, and the way without it."""
    try:
        with instruction_set(request.param):
            yield request.param
    except RuntimeError as error:
        pytest.skip(str(error))


def rounded(case: Case, dtype: torch.dtype) -> dict[str, np.ndarray | None]:
    """The case's arrays; maps, weights and the gradient from above hold values of the low precision."""
    arrays = case.arrays()
    for name in (*MAPS, "head"):
        if arrays[name] is not None:
            arrays[name] = torch.tensor(arrays[name]).to(dtype).float().numpy()
    return arrays


def run(case: Case, arrays: dict, dtype: torch.dtype, positions: torch.dtype, border: str, last: bool) -> dict:
    t = {
        name: torch.tensor(arrays[name]).to(dtype if name in MAPS else positions)
        for name in ("input", "offset", "mask", "weight", "bias")
    }
    head = torch.tensor(arrays["head"]).to(dtype)
    if last:
        t["input"] = t["input"].contiguous(memory_format=torch.channels_last)
        head = head.contiguous(memory_format=torch.channels_last)
    t = {name: value.requires_grad_() for name, value in t.items()}
    output = modulated_deform_conv2d(*t.values(), *case.geometry, border=border)
    output.backward(head)
    if last:
        assert output.is_contiguous(memory_format=torch.channels_last)
        assert t["input"].grad.is_contiguous(memory_format=torch.channels_last)
    return {"output": output.detach(), **{name: value.grad for name, value in t.items()}}


@pytest.mark.parametrize("last", [False, True], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("name", WIDE)
def test_low_precision_is_float64_within_its_roundings(engine, name, dtype, last):
    case = WIDE[name]
    arrays = rounded(case, dtype)
    exact = {**arrays, "offset": case.same_cells(arrays["offset"])}
    expected = run_in(case, exact, torch.float64, border="zeros", masked=True)
    ours = run(case, arrays, dtype, torch.float32, "zeros", last)
    for key, value in ours.items():
        assert value.dtype == (torch.float32 if key in ("offset", "mask") else dtype), key
        difference = np.abs(value.double().numpy() - expected[key]).max()
        assert difference <= LOW_PRECISION[str(dtype)[6:]] * np.abs(expected[key]).max(), key


def test_positions_may_come_in_low_precision_and_get_their_gradient_in_it(engine):
    case = WIDE["two_tiles"]
    arrays = rounded(case, torch.bfloat16)
    for name in ("offset", "mask"):
        arrays[name] = torch.tensor(arrays[name]).bfloat16().float().numpy()
    narrow = run(case, arrays, torch.bfloat16, torch.bfloat16, "clamp", False)
    wide = run(case, arrays, torch.bfloat16, torch.float32, "clamp", False)
    assert all(value.dtype == torch.bfloat16 for value in narrow.values())
    assert all(torch.equal(value, wide[key].bfloat16()) for key, value in narrow.items())


def test_positions_keep_float32_beside_low_precision_maps(engine):
    case = Case(0.0, channels=32, out_channels=16, height=4, width=400, padding=(0, 0), kernel=(1, 1))
    ramp = torch.arange(400.0).remainder(2).expand(1, 32, 4, 400).bfloat16()
    offset = torch.full((1, 2, 4, 400), 0.0625)  # at 300 px bfloat16 counts in steps of 2
    offset[:, 0] = 0
    weight = torch.zeros(16, 32, 1, 1).bfloat16()
    weight[:, 0] = 1
    output = deform_conv2d(ramp, offset, weight, None, *case.geometry).float()
    assert (output[..., 300:398:2] == 0.0625).all() and (output[..., 301:398:2] == 1 - 0.0625).all()


def test_not_a_number_and_infinity_pass_through_the_pixels_that_hold_them(engine):
    case = WIDE["two_tiles"]
    for bad in (float("nan"), float("inf")):
        arrays = rounded(case, torch.bfloat16)
        arrays["input"][0, 0, 3, 3] = bad
        t = [torch.tensor(arrays[k]) for k in ("input", "offset", "weight", "bias")]
        wide = deform_conv2d(*t, *case.geometry)
        ours = deform_conv2d(t[0].bfloat16(), t[1], t[2].bfloat16(), t[3].bfloat16(), *case.geometry)
        assert 0 < (~wide.isfinite()).sum() < wide.numel()
        assert torch.equal(ours.isfinite(), wide.isfinite())


def test_empty_batch_in_bfloat16(engine):
    case = WIDE["two_tiles"]
    t = [torch.tensor(case.arrays()[k]).bfloat16() for k in ("input", "offset", "weight", "bias")]
    t[:2] = [v[:0] for v in t[:2]]
    assert deform_conv2d(*t, *case.geometry).shape == (0, case.out_channels, *case.out_size)


def test_low_precision_results_repeat_bit_for_bit(engine):
    case = WIDE["two_tiles"]
    arrays = rounded(case, torch.bfloat16)
    first, second = (run(case, arrays, torch.bfloat16, torch.float32, "clamp", True) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_other_types_are_refused():
    case = CASES["zero_offsets"]
    t = [torch.tensor(case.arrays()[k]).int() for k in ("input", "offset", "weight", "bias")]
    with pytest.raises(RuntimeError, match="input: expected float32, float64, bfloat16 or float16, got int32"):
        deform_conv2d(*t, *case.geometry)
