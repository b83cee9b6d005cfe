"""deform_psroi_pool against MXNet 1.9.1 on the CPU, forward and backward; the instruction sets against each other."""

import numpy as np
import pytest
from deform_psroi_cases import CASES, Case, run_ours
from instruction_sets import available, instruction_set
from witnesses import Witnesses, assert_same_function


def run_mxnet(case: Case, dtype: type) -> dict[str, np.ndarray]:
    import mxnet as mx

    input, offset, head = (None if a is None else mx.nd.array(a, dtype=dtype) for a in case.arrays())
    leaves = [input] if offset is None else [input, offset]
    for leaf in leaves:
        leaf.attach_grad()
    with mx.autograd.record():
        arguments = [input, mx.nd.array(case.rois, dtype=dtype), *leaves[1:]]
        output = mx.nd.contrib.DeformablePSROIPooling(*arguments, no_trans=offset is None, **case.parameters())
    output.backward(head)
    names = ["grad_input", "grad_offset"]
    return {"output": output.asnumpy(), **{n: leaf.grad.asnumpy() for n, leaf in zip(names, leaves, strict=False)}}


@pytest.mark.mxnet
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_mxnet_in_float32_and_float64(name: str):
    case = CASES[name]
    ours32, ours64 = run_ours(case, np.float32), run_ours(case, np.float64)
    mxnet32, mxnet64 = run_mxnet(case, np.float32), run_mxnet(case, np.float64)
    assert set(ours32) == set(mxnet32)
    for tensor in mxnet32:
        witnesses = Witnesses(ours32[tensor], ours64[tensor], mxnet32[tensor], mxnet64[tensor])
        assert_same_function(witnesses, f"{name} {tensor}")


@pytest.mark.mxnet
@pytest.mark.parametrize("name", CASES)
def test_output_and_input_gradient_are_mxnets_bit_for_bit(name: str):
    ours, mxnet = run_ours(CASES[name], np.float32), run_mxnet(CASES[name], np.float32)
    np.testing.assert_array_equal(ours["output"], mxnet["output"])
    np.testing.assert_array_equal(ours["grad_input"], mxnet["grad_input"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_every_instruction_set_computes_the_same_bits(name: str, dtype: type):
    results = {}
    for isa in available():
        with instruction_set(isa):
            results[isa] = run_ours(CASES[name], dtype)
    for isa, tensors in results.items():
        for tensor, values in tensors.items():
            np.testing.assert_array_equal(values, results["plain"][tensor], f"{isa} {tensor}")
