"""deform_conv2d with split bfloat16 products: as exact as promised, and float32 wherever it could not be."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from deform_conv_cases import CASES, Case
from deform_conv_runs import run
from instruction_sets import instruction_set
from tolerances import BF16X3

from torch_port.ops import deform_conv2d, set_cpu_precision

WIDE = {
    "two_tiles": Case(channels=160, out_channels=100, height=20, width=23, offset_groups=4, batch=2),
    "weight_groups_2_offset_groups_3": Case(channels=192, out_channels=96, groups=2, offset_groups=3, batch=2),
    "odd_channels_5x5_stride_2x1": Case(
        "edges", channels=300, out_channels=71, kernel=(5, 5), padding=(2, 2), height=13, width=11, stride=(2, 1)
    ),
    "kernel_7x7": Case(channels=40, out_channels=33, kernel=(7, 7), padding=(3, 3)),
    "nine_outputs": Case(channels=64, out_channels=9, bias=False),
    **{name: case for name, case in CASES.items() if case.channels >= 24},
}
needs_amx = pytest.mark.skipif(not torch.ops.dcn.has_amx(), reason="this processor has no AMX: nothing is split")


@pytest.fixture
def split() -> Iterator[None]:
    before = torch.ops.dcn.set_cpu_precision("bf16x3")
    yield
    torch.ops.dcn.set_cpu_precision(before)


def both(case: Case, arrays: dict, **how) -> tuple[dict, dict]:
    """Results in bf16x3, and in float32."""
    ours = run(case, arrays, torch.float32, **how)
    torch.ops.dcn.set_cpu_precision("float32")
    exact = run(case, arrays, torch.float32, **how)
    torch.ops.dcn.set_cpu_precision("bf16x3")
    return ours, exact


@needs_amx
@pytest.mark.parametrize("border, masked", [("clamp", False), ("zeros", True)])
@pytest.mark.parametrize("name", WIDE)
def test_split_products_are_within_1e5_of_scale_of_float64(split, name, border, masked):
    case = WIDE[name]
    arrays = case.arrays()
    exact = {**arrays, "offset": case.same_cells(arrays["offset"])}
    expected = run(case, exact, torch.float64, border=border, masked=masked)
    ours = run(case, arrays, torch.float32, border=border, masked=masked)
    for key, value in expected.items():
        assert np.abs(ours[key] - value).max() <= BF16X3 * np.abs(value).max(), key


@needs_amx
def test_products_really_are_split(split):
    case = WIDE["two_tiles"]
    ours, exact = both(case, case.arrays(), border="clamp", masked=False)
    assert all(not np.array_equal(ours[key], exact[key]) for key in ("output", "input", "weight", "offset"))


@pytest.mark.parametrize("name", ["input", "weight", "head", "mask"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 1e30])
def test_values_that_cannot_be_split_are_multiplied_in_float32(split, name, value):
    case = WIDE["two_tiles"]
    arrays = case.arrays()
    arrays[name].flat[arrays[name].size // 2] = value
    ours, exact = both(case, arrays, border="zeros", masked=True)
    for key in exact:
        if name == "head" and key == "output":  # knows nothing of it
            continue
        np.testing.assert_array_equal(ours[key], exact[key], err_msg=key)


@pytest.mark.parametrize("scale", [1e-44, 1e-30])
def test_tensors_of_tiny_values_are_multiplied_in_float32(split, scale):
    case = WIDE["two_tiles"]
    arrays = case.arrays()
    arrays["input"] *= np.float32(scale)
    ours, exact = both(case, arrays, border="zeros", masked=True)
    for key in exact:
        np.testing.assert_array_equal(ours[key], exact[key], err_msg=key)


def test_small_groups_and_other_instruction_sets_and_float64_stay_as_they_are(split):
    case = Case(channels=24, out_channels=24, groups=24, offset_groups=4)
    ours, exact = both(case, case.arrays(), border="clamp", masked=False)
    assert all(np.array_equal(ours[key], exact[key]) for key in exact)
    case = WIDE["two_tiles"]
    with instruction_set("portable"):
        ours, exact = both(case, case.arrays(), border="clamp", masked=False)
    assert all(np.array_equal(ours[key], exact[key]) for key in exact)
    double = run(case, case.arrays(), torch.float64, border="clamp", masked=False)
    torch.ops.dcn.set_cpu_precision("float32")
    again = run(case, case.arrays(), torch.float64, border="clamp", masked=False)
    assert all(np.array_equal(double[key], again[key]) for key in double)


@needs_amx
def test_channels_last_and_positions_that_no_map_has(split):
    case = WIDE["two_tiles"]
    arrays = case.arrays()
    arrays["offset"][:, ::7] = np.nan
    arrays["offset"][:, 3::7] = 1e30
    input, offset, weight, bias = (torch.tensor(arrays[k]) for k in ("input", "offset", "weight", "bias"))
    ours = deform_conv2d(input, offset, weight, bias, *case.geometry)
    last = deform_conv2d(
        input.contiguous(memory_format=torch.channels_last), offset, weight, bias, *case.geometry, border="clamp"
    )
    assert last.is_contiguous(memory_format=torch.channels_last) and torch.equal(last, ours)
    torch.ops.dcn.set_cpu_precision("float32")
    exact = deform_conv2d(input, offset, weight, bias, *case.geometry)
    torch.testing.assert_close(ours, exact, rtol=0, atol=BF16X3 * exact.abs().max().item())


@needs_amx
def test_split_results_repeat_bit_for_bit_and_forward_on_any_number_of_threads(split):
    case, before = WIDE["two_tiles"], torch.get_num_threads()
    arrays, results = case.arrays(), []
    for threads in (1, 3, 3):
        torch.set_num_threads(threads)
        results.append(run(case, arrays, torch.float32, border="zeros", masked=True))
    torch.set_num_threads(before)
    assert np.array_equal(results[0]["output"], results[1]["output"])
    assert all(np.array_equal(results[1][key], results[2][key]) for key in results[1])


def test_precision_by_name_and_the_one_before():
    assert torch.ops.dcn.cpu_precision() == "float32"
    with pytest.raises(RuntimeError, match="set_cpu_precision: expected float32 or bf16x3, got tf32"):
        set_cpu_precision("tf32")
    if torch.ops.dcn.has_amx():
        assert set_cpu_precision("bf16x3") == "float32" and set_cpu_precision("float32") == "bf16x3"
    else:
        with pytest.warns(UserWarning, match="no AMX"):
            set_cpu_precision("bf16x3")
        set_cpu_precision("float32")
