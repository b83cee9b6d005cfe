"""deform_conv2d and modulated_deform_conv2d against MXNet 1.9.1 on the CPU and against plain float64 loops."""

import numpy as np
import pytest
import torch
from deform_conv_cases import CASES, SMALL, Case
from deform_conv_runs import run
from reference import loops
from tolerances import FLOAT64_SAME_FUNCTION
from witnesses import Witnesses, assert_same_function


def mxnet_arguments(mx, case: Case, arrays: dict, dtype: type, names: tuple[str, ...]) -> tuple[dict, dict]:
    values = {name: mx.nd.array(arrays[name], dtype=dtype) for name in names if arrays[name] is not None}
    parameters = dict(
        kernel=case.kernel, stride=case.stride, pad=case.padding, dilate=case.dilation, num_filter=case.out_channels,
        num_group=case.groups, num_deformable_group=case.offset_groups, no_bias=not case.bias,
    )  # fmt: skip
    return values, parameters


def mxnet_deform_conv(case: Case, arrays: dict, dtype: type) -> dict[str, np.ndarray]:
    import mxnet as mx

    values, parameters = mxnet_arguments(mx, case, arrays, dtype, ("input", "offset", "weight", "bias"))
    for value in values.values():
        value.attach_grad()
    with mx.autograd.record():
        output = mx.nd.contrib.DeformableConvolution(*values.values(), **parameters)
    output.backward(mx.nd.array(arrays["head"], dtype=dtype))
    return {"output": output.asnumpy(), **{name: value.grad.asnumpy() for name, value in values.items()}}


def mxnet_modulated(case: Case, arrays: dict, dtype: type) -> dict[str, np.ndarray]:
    import mxnet as mx

    values, parameters = mxnet_arguments(mx, case, arrays, dtype, ("input", "offset", "mask", "weight", "bias"))
    return {"output": mx.nd.contrib.ModulatedDeformableConvolution(*values.values(), **parameters).asnumpy()}


def judge(case: Case, mxnet, *, border: str, masked: bool) -> None:
    """Four witnesses on positions that are the same numbers in both types, so that no element has to be set apart."""
    arrays = case.arrays()
    wide = {**arrays, "offset": case.same_cells(arrays["offset"])}
    mxnet32, mxnet64 = mxnet(case, arrays, np.float32), mxnet(case, wide, np.float64)
    ours32 = run(case, arrays, torch.float32, border=border, masked=masked)
    ours64 = run(case, wide, torch.float64, border=border, masked=masked)
    for name in mxnet64:
        apart = assert_same_function(Witnesses(ours32[name], ours64[name], mxnet32[name], mxnet64[name]), name)
        assert apart == 0, f"{name}: {apart} elements in different cells, though positions are the same"


def assert_close(ours: np.ndarray, expected: np.ndarray, what: str) -> None:
    scale = np.abs(expected).max(initial=0.0)
    assert np.abs(ours - expected).max(initial=0.0) <= FLOAT64_SAME_FUNCTION * scale, what


@pytest.mark.mxnet
@pytest.mark.parametrize("name", CASES)
def test_deform_conv2d_is_mxnets(name):
    judge(CASES[name], mxnet_deform_conv, border="clamp", masked=False)


@pytest.mark.mxnet
@pytest.mark.parametrize("name", ["offsets_1e-8", "offsets_1e-6", "zero_offsets"])
def test_float64_positions_a_hair_beside_a_pixel_fall_into_mxnets_cells(name):
    case = CASES[name]
    arrays = case.arrays()  # offsets as they are: in float64 half of them fall into another cell than in float32
    ours, mxnet = (
        run(case, arrays, torch.float64, border="clamp", masked=False),
        mxnet_deform_conv(case, arrays, np.float64),
    )
    for key, expected in mxnet.items():
        assert_close(ours[key], expected, key)


@pytest.mark.mxnet
@pytest.mark.parametrize("name", CASES)
def test_modulated_deform_conv2d_forward_is_mxnets(name):
    judge(CASES[name], mxnet_modulated, border="zeros", masked=True)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "modulated"])
@pytest.mark.parametrize("border", ["clamp", "zeros"])
@pytest.mark.parametrize("name", SMALL)
def test_output_and_gradients_are_those_of_plain_loops(name, border, masked):
    case = SMALL[name]
    arrays = case.arrays()
    expected = loops(case, arrays, border, masked)
    for key, value in run(case, arrays, torch.float64, border=border, masked=masked).items():
        assert_close(value, expected[key], key)


def test_planted_mistake_in_the_border_rule_is_seen():
    case = CASES["edges_of_the_map"]
    arrays = case.arrays()
    expected = loops(case, arrays, "clamp", False)
    with pytest.raises(AssertionError, match="output"):
        assert_close(
            run(case, arrays, torch.float64, border="zeros", masked=False)["output"], expected["output"], "output"
        )
