"""Random shapes of the deformable convolutions, every engine, against plain float64 loops; and values of any kind."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from deform_conv_cases import Case
from deform_conv_runs import run
from hypothesis import given, settings
from instruction_sets import available, instruction_set
from reference import loops
from tolerances import BF16X3_FEW_ELEMENTS, FLOAT64_SAME_FUNCTION, LOW_PRECISION

from torch_port.ops import modulated_deform_conv2d

RANDOM = settings(max_examples=12, deadline=None, derandomize=True)


@st.composite
def cases(draw: st.DrawFn, channels_of_group: tuple[int, int] = (1, 5), outputs: tuple[int, int] = (1, 5)) -> Case:
    """Any combination that is a convolution; channels and outputs are multiples of the groups."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, dilation, stride = draw(pair), draw(pair), draw(pair)
    padding = tuple(draw(st.integers(0, d * (k - 1) // 2 + 1)) for k, d in zip(kernel, dilation, strict=True))
    reach = [d * (k - 1) + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    height, width = (max(r, 1) + draw(st.integers(0, 4)) for r in reach)
    groups, offset_groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return Case(
        draw(st.sampled_from(["edges", 0.0, 2.0])), draw(st.integers(1, 2)),
        math.lcm(groups, offset_groups) * draw(st.integers(*channels_of_group)), groups * draw(st.integers(*outputs)),
        height, width, kernel, stride, padding, dilation, groups, offset_groups, draw(st.booleans()),
    )  # fmt: skip


def assert_within(ours: dict, expected: dict, share: float) -> None:
    for key, value in ours.items():
        scale = np.abs(expected[key]).max(initial=0.0)
        assert np.abs(value - expected[key]).max(initial=0.0) <= share * scale, key


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("border", ["clamp", "zeros"])
@RANDOM
@given(case=cases(), masked=st.booleans())
def test_random_shapes_are_those_of_plain_loops_in_float64(isa, border, case, masked):
    arrays = case.arrays()
    with instruction_set(isa):
        ours = run(case, arrays, torch.float64, border=border, masked=masked)
    assert_within(ours, loops(case, arrays, border, masked), FLOAT64_SAME_FUNCTION)


@pytest.mark.parametrize("border", ["clamp", "zeros"])
@RANDOM
@given(case=cases((16, 40), (8, 40)), masked=st.booleans())
def test_random_shapes_with_split_products(border, case, masked):
    arrays = case.arrays()
    exact = {**arrays, "offset": case.same_cells(arrays["offset"])}
    before = torch.ops.dcn.set_cpu_precision("bf16x3")
    try:
        ours = run(case, arrays, torch.float32, border=border, masked=masked)
    finally:
        torch.ops.dcn.set_cpu_precision(before)
    assert_within(ours, run(case, exact, torch.float64, border=border, masked=masked), BF16X3_FEW_ELEMENTS)


@RANDOM
@given(case=cases((8, 40), (1, 40)), last=st.booleans())
def test_random_shapes_in_bfloat16(case, last):
    arrays = case.arrays()
    for name in ("input", "weight", "bias", "head"):
        if arrays[name] is not None:
            arrays[name] = torch.tensor(arrays[name]).bfloat16().float().numpy()
    exact = {**arrays, "offset": case.same_cells(arrays["offset"])}
    expected = run(case, exact, torch.float64, border="zeros", masked=True)
    t = {
        k: None if arrays[k] is None else torch.tensor(arrays[k]) for k in ("input", "offset", "mask", "weight", "bias")
    }
    t = {k: v if v is None or k in ("offset", "mask") else v.bfloat16() for k, v in t.items()}
    if last:
        t["input"] = t["input"].contiguous(memory_format=torch.channels_last)
    t = {k: None if v is None else v.requires_grad_() for k, v in t.items()}
    output = modulated_deform_conv2d(*t.values(), *case.geometry)
    output.backward(torch.tensor(arrays["head"]).bfloat16())
    ours = {"output": output.detach(), **{k: v.grad for k, v in t.items() if v is not None}}
    assert_within({k: v.double().numpy() for k, v in ours.items()}, expected, LOW_PRECISION["bfloat16"])


@pytest.mark.parametrize("precision", ["float32", "bf16x3", "bfloat16"])
@RANDOM
@given(case=cases((8, 40), (8, 20)), seed=st.integers(0, 9),
       values=st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 1e30, -1e30, 3e38, 1e-42, 0.0]), min_size=1))  # fmt: skip
def test_values_of_any_kind_never_reach_beyond_an_array(precision, case, seed, values):
    """Whatever stands in the tensors, a call ends and leaves samples at honest positions alone."""
    rng, arrays = np.random.default_rng(seed), case.arrays()
    for array in arrays.values():
        if array is not None and array.size:
            array.flat[rng.integers(0, array.size, len(values))] = values
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    t = {k: torch.tensor(v).to(dtype if k in ("input", "weight", "bias", "head") else torch.float32)
         for k, v in arrays.items() if v is not None}  # fmt: skip
    head = t.pop("head")
    t = {k: v.requires_grad_() for k, v in t.items()}
    before = torch.ops.dcn.set_cpu_precision("bf16x3" if precision == "bf16x3" else "float32")
    try:
        output = modulated_deform_conv2d(t["input"], t["offset"], t["mask"], t["weight"], t.get("bias"), *case.geometry)
        output.backward(head)
    finally:
        torch.ops.dcn.set_cpu_precision(before)
    bad = ~torch.isfinite(t["offset"]) | (t["offset"].abs() > 1e6)
    assert (t["offset"].grad[bad] == 0).all()
