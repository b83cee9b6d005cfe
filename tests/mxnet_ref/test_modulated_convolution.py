"""Modulated deformable convolution in the reference: MXNet's forward, a gradient for the CPU, its graph, its training."""

import mxnet as mx
import numpy as np
import pytest
from tolerances import FLOAT64_SAME_FUNCTION

import mxnet_ref
from mxnet_ref.executor import bind, run
from mxnet_ref.operators import with_cpu_backward
from mxnet_ref.operators.modulated_convolution import gradients
from tests.mxnet_ref.tiny_network import photo, tiny
from tests.ops.deform_conv_cases import Case
from tests.ops.reference import loops

pytestmark = pytest.mark.mxnet
CASES = {
    "two groups": Case(offsets="smooth", offset_groups=2),
    "far outside": Case(offsets=6.0, offset_groups=4, batch=2),
    "strided and dilated": Case(offsets=2.0, stride=(2, 1), dilation=(2, 2), padding=(2, 2)),
    "on the edges": Case(offsets="edges", height=5, width=4, offset_groups=2),
    "one pixel wide": Case(offsets=1.0, width=1, height=6),
}
NAMES = ("data", "offset", "mask", "weight")
DCNV2 = "demo/narrow_rfcn_dcnv2"


def arrays_of(case, seed=0):
    rng = np.random.default_rng(seed)
    out = (case.batch, case.out_channels, *case.out_size)
    return {
        "input": rng.standard_normal((case.batch, case.channels, case.height, case.width)),
        "offset": case.offset(rng).astype(np.float64),
        "mask": rng.uniform(0, 2, (case.batch, case.offset_groups * case.taps, *case.out_size)),
        "weight": rng.standard_normal((case.out_channels, case.channels, *case.kernel)),
        "bias": None,
        "head": rng.standard_normal(out),
    }


def node(case):
    return mx.contrib.sym.ModulatedDeformableConvolution(
        name="conv", data=mx.sym.Variable("data"), offset=mx.sym.Variable("offset"), mask=mx.sym.Variable("mask"),
        weight=mx.sym.Variable("weight"), kernel=case.kernel, stride=case.stride, pad=case.padding, dilate=case.dilation,
        num_filter=case.out_channels, num_deformable_group=case.offset_groups, no_bias=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient_for_the_cpu_is_the_rules_plain_loop(name):
    """Elementwise float64 loops written from the rule, against the vectorised gradient that stands in for MXNet's."""
    case = CASES[name]
    arrays = arrays_of(case)
    wanted = loops(case, arrays, "zeros", True)
    geometry = {"stride": case.stride, "pad": case.padding, "dilate": case.dilation}
    inputs = (arrays["input"], arrays["offset"], arrays["mask"], arrays["weight"], arrays["head"])
    for key, found in zip(("input", "offset", "mask", "weight"), gradients(*inputs, **geometry), strict=True):
        scale = np.abs(wanted[key]).max()
        np.testing.assert_allclose(found / scale, wanted[key] / scale, rtol=0, atol=FLOAT64_SAME_FUNCTION, err_msg=key)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bound_with_gradients_the_forward_pass_is_mxnets_own(dtype):
    case = CASES["far outside"]
    case = Case(**{**case.__dict__, "out_channels": 8})  # MXNet wants a multiple of the offset groups
    arrays = arrays_of(case)
    values = dict(zip(NAMES, (arrays[key] for key in ("input", "offset", "mask", "weight")), strict=True))
    own = run(bind(node(case), values, {}, {}, dtype=dtype))[0]
    executor = bind(node(case), values, {}, {}, dtype=dtype, gradients=NAMES)
    assert np.array_equal(run(executor, is_train=True)[0], own)
    executor.backward([mx.nd.array(arrays["head"], dtype=dtype)])
    assert all(executor.grad_dict[name].asnumpy().any() for name in NAMES)


def test_mxnet_itself_has_no_gradient_on_the_cpu():
    """The reason for all this; if MXNet learns it one day, the loop can go."""
    case = Case(out_channels=8)
    arrays = arrays_of(case)
    values = dict(zip(NAMES, (arrays[key] for key in ("input", "offset", "mask", "weight")), strict=True))
    given = {name: mx.nd.array(value) for name, value in values.items()}
    executor = node(case).bind(mx.cpu(), given, args_grad={name: mx.nd.zeros_like(v) for name, v in given.items()})
    executor.forward(is_train=True)
    with pytest.raises(mx.MXNetError):
        executor.backward([mx.nd.array(arrays["head"])])
        mx.nd.waitall()


def test_graphs_as_built_hold_mxnets_operator_and_keep_their_names():
    symbol = mxnet_ref.build_symbol(DCNV2, True)
    lines = mxnet_ref.trace(symbol)
    assert any(line.startswith("ModulatedDeformableConvolution | res5a_branch2b |") for line in lines)
    replaced = with_cpu_backward(symbol)
    assert replaced.list_outputs() == symbol.list_outputs()
    assert replaced.get_internals().list_outputs() == symbol.get_internals().list_outputs()
    plain = mxnet_ref.build_symbol("demo/narrow_rfcn_dcn", True)
    assert with_cpu_backward(plain) is plain


def test_guides_learn_at_a_tenth_of_the_rate_and_start_as_the_plain_convolution():
    cfg = tiny(DCNV2)
    symbol = mxnet_ref.build_symbol(cfg, True)
    rates = mxnet_ref.init.learning_rate_multipliers(symbol)
    assert {name: rate for name, rate in rates.items() if "offset" in name} == {
        "res5a_branch2b_offset_weight": 0.1,
        "res5a_branch2b_offset_bias": 0.1,
    }
    arg, aux = mxnet_ref.init_params(cfg, seed=0, pretrained=False)
    assert not arg["res5a_branch2b_offset_weight"].any()
    inputs = dict(zip(("data", "im_info"), mxnet_ref.detect.to_network_input(photo(), cfg), strict=True))
    found = mxnet_ref.executor.outputs_of(symbol, ["res5a_branch2b_mask"], arg, aux, inputs)["res5a_branch2b_mask"]
    assert np.array_equal(found, np.ones_like(found))
    outputs = {}
    for modulated, units in ((True, ["res5a"]), (False, [])):
        changed = tiny(DCNV2, network__MODULATED_CONV=modulated, network__DEFORM_CONV_UNITS=units)
        graph = mxnet_ref.build_symbol(changed, False)
        outputs[modulated] = mxnet_ref.executor.outputs_of(graph, ["res5a_branch2b"], arg, aux, inputs, dtype="float64")
    scale = np.abs(outputs[False]["res5a_branch2b"]).max()
    difference = np.abs(outputs[True]["res5a_branch2b"] - outputs[False]["res5a_branch2b"]).max()
    assert difference <= FLOAT64_SAME_FUNCTION * scale
