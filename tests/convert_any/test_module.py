"""What a converted module is: trains, exports, compiles, goes back; and what it refuses."""

import json

import numpy as np
import pytest
import torch

from dcn_tasks.errors import InputError
from tests.convert_any.cases import CASES
from tests.convert_any.emitted import emitted_model
from tests.convert_any.small_graph import Builder, small_graph, small_params, small_text
from tests.convert_any.test_operators import UNTRIED
from tests.convert_any.write_page import PAGE
from weights_convert import Params, convert, parse_symbol, save_params
from weights_convert.translate import REGISTRY, mxnet_names, operator
from weights_convert.translate.back import to_symbol
from weights_convert.translate.operators_page import render
from weights_convert.translate.source import to_source


def test_parameters_and_buffers_keep_mxnets_names(module):
    params = small_params()
    assert dict(module.named_parameters()).keys() == params.arg.keys()
    assert dict(module.named_buffers()).keys() == params.aux.keys()


def test_training_moves_the_statistics_with_mxnets_momentum_and_biased_variance(module, data):
    module.double().train()
    seen = {}
    hook = torch.fx.Interpreter(module)
    before = module.get_buffer("stage1_unit1_bn_moving_var").clone()
    maps = torch.nn.functional.conv2d(data.double() * 0.5, module.get_parameter("stage1_unit1_conv_weight"), padding=1)
    seen["variance"] = maps.var((0, 2, 3), correction=0)
    hook.run(data.double(), None)
    kept = float(np.float32(0.9))
    torch.testing.assert_close(
        module.get_buffer("stage1_unit1_bn_moving_var"), kept * before + (1 - kept) * seen["variance"]
    )


@pytest.mark.mxnet
def test_single_value_becomes_beta_in_training_as_in_mxnet():
    import mxnet as mx

    data, gamma, beta = (np.arange(1, 4, dtype=np.float32) * each for each in (5, 2, 7))
    given = [mx.nd.array(each) for each in (data.reshape(1, 3, 1, 1), gamma, beta, [0] * 3, [1] * 3)]
    with mx.autograd.record(train_mode=True):
        theirs = mx.nd.BatchNorm(*given, fix_gamma=False, eps=1)
    net = Builder()
    states = [net.variable(f"bn_{each}") for each in ("gamma", "beta", "moving_mean", "moving_var")]
    head = net.call("BatchNorm", "bn", net.variable("data"), *states, aux=2, fix_gamma=False, eps=1)
    version = {"mxnet_version": ["int", 10901]}
    text = json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[head, 0, 0]], "attrs": version})
    aux = {"bn_moving_mean": np.zeros(3, np.float32), "bn_moving_var": np.ones(3, np.float32)}
    module = convert(parse_symbol(text), Params({"bn_gamma": gamma, "bn_beta": beta}, aux)).train()
    ours = module(data=torch.from_numpy(data).reshape(1, 3, 1, 1)).detach().flatten()
    np.testing.assert_array_equal(ours, theirs.asnumpy().ravel())
    np.testing.assert_array_equal(ours, beta)


@pytest.mark.mxnet
@pytest.mark.parametrize("more", [{"adj": "(1, 0)"}, {"target_shape": "(9, 11)"}, {"num_group": 2, "no_bias": False}])
def test_transposed_convolution_of_channels_last_is_mxnets_with_its_axes_moved(more):
    """MXNet 1.9.1's CPU infers the shapes of NHWC and has no kernel for it, so NCHW is the oracle."""
    import mxnet as mx

    rng = np.random.default_rng(3)
    attrs = {"kernel": "(3, 2)", "stride": "(2, 3)", "pad": "(1, 0)", "num_filter": 6, **more}
    data, weight, bias = (
        rng.standard_normal((2, 5, 4, 8)),
        rng.standard_normal((8, 3, 2, 6 // more.get("num_group", 1))),
        np.ones(6),
    )
    arrays = [each.astype(np.float32) for each in (data, weight, bias)[: 3 if "no_bias" in more else 2]]
    net = Builder()
    names = ["data", "up_weight", "up_bias"][: len(arrays)]
    head = net.call("Deconvolution", "up", *map(net.variable, names), layout="NHWC", **attrs)
    text = json.dumps({"nodes": net.nodes, "arg_nodes": list(range(len(names))), "heads": [[head, 0, 0]]})
    shapes, _, _ = mx.sym.load_json(text).infer_shape(data=(2, 5, 4, 8))
    assert shapes == [each.shape for each in arrays]
    module = convert(parse_symbol(text), Params(dict(zip(names[1:], arrays[1:], strict=True))))
    first = [mx.nd.array(np.moveaxis(each, -1, 1)) if each.ndim == 4 else mx.nd.array(each) for each in arrays]
    theirs = np.moveaxis(mx.nd.Deconvolution(*first, **attrs).asnumpy(), 1, -1)
    ours = module(data=torch.from_numpy(arrays[0])).detach()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_evaluation_leaves_the_statistics_alone(module, data):
    before = {name: each.clone() for name, each in module.named_buffers()}
    module(data=data)
    assert all(torch.equal(each, before[name]) for name, each in module.named_buffers())


def test_loss_head_puts_its_own_gradient_whatever_comes_from_above(module, data):
    module.train()
    label = torch.tensor([0.0, 3.0, 1.0])
    gradients = []
    for scale in (1.0, 50.0):
        module.zero_grad()
        probability, _ = module(data=data, softmax_label=label)
        (probability * scale).sum().backward()
        gradients.append(module.get_parameter("fc_bias").grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].abs().max() > 0


@pytest.mark.mxnet
def test_gradients_of_a_training_step_are_mxnets(module, data):
    import mxnet as mx

    params, label = small_params(), np.array([0, 3, 1], np.float32)
    symbol = mx.sym.load_json(small_text())
    given = {**params.arg, "data": data.numpy(), "softmax_label": label}
    args = {name: mx.nd.array(given[name]) for name in symbol.list_arguments()}
    slots = {name: mx.nd.zeros_like(args[name]) for name in params.arg}
    states = {name: mx.nd.array(value) for name, value in params.aux.items()}
    executor = symbol.bind(mx.cpu(), args, args_grad=slots, grad_req={n: "write" if n in slots else "null" for n in args},
                           aux_states=states)  # fmt: skip
    outputs = executor.forward(is_train=True)
    executor.backward([mx.nd.ones_like(outputs[0]), mx.nd.zeros_like(outputs[1])])
    module.train()
    probability, _ = module(data=data, softmax_label=torch.from_numpy(label))
    probability.sum().backward()
    for name, theirs in slots.items():
        ours = module.get_parameter(name).grad
        np.testing.assert_allclose(
            ours, theirs.asnumpy(), rtol=1e-4, atol=1e-5 * np.abs(theirs.asnumpy()).max(), err_msg=name
        )
    for name, theirs in states.items():
        np.testing.assert_allclose(module.get_buffer(name), theirs.asnumpy(), rtol=1e-5, err_msg=name)


def test_module_exports_and_compiles(module, data):
    expected = module(data=data)
    exported = torch.export.export(module, (), {"data": data}).module()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for found in (exported(data=data), compiled(data=data)):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_arrays_that_a_graph_makes_follow_the_default_device():
    net = Builder()
    begin = net.call("_zeros", "begin", shape="(0, 3)")
    head = net.call("broadcast_add", "sum", begin, net.variable("data"))
    module = convert(
        parse_symbol(json.dumps({"nodes": net.nodes, "arg_nodes": [1], "heads": [[head, 0, 0]]})), Params()
    )
    with torch.device("meta"):
        assert module(data=torch.zeros(2, 3)).device.type == "meta"


@pytest.mark.parametrize("writer", [to_symbol, to_source])
def test_calls_that_are_no_operators_are_named(module, writer):
    head = next(each for each in module.graph.nodes if each.op == "call_function")
    head.target = torch.sign
    with pytest.raises(InputError, match=f"{writer.__name__}: {head.name}: .*sign"):
        writer(module)


def test_way_back_gives_the_same_module(module, data):
    text, params = to_symbol(module)
    again = convert(parse_symbol(text), params)
    assert all(torch.equal(one, other) for one, other in zip(again(data=data), module(data=data), strict=True))


@pytest.mark.mxnet
def test_mxnet_loads_what_comes_back_and_agrees(module, data, tmp_path):
    import mxnet as mx

    with torch.no_grad():
        module.get_parameter("fc_bias").add_(1.0)  # as after training
    text, params = to_symbol(module)
    (tmp_path / "net-symbol.json").write_text(text)
    save_params(tmp_path / "net-0000.params", params)
    symbol, arg, aux = mx.model.load_checkpoint(str(tmp_path / "net"), 0)
    arg |= {"data": mx.nd.array(data.numpy()), "softmax_label": mx.nd.zeros((3,))}
    outputs = symbol.bind(mx.cpu(), arg, aux_states=aux).forward()
    with torch.no_grad():
        ours = module(data=data)
    for mine, theirs in zip(ours, outputs, strict=True):
        np.testing.assert_allclose(mine, theirs.asnumpy(), rtol=1e-5, atol=1e-6)


def test_incomplete_parameter_file_names_the_array():
    params = small_params()
    del params.arg["stage1_unit2_conv_weight"]
    with pytest.raises(InputError, match=r"stage1_unit2_conv_weight.*weight"):
        convert(small_graph(), params)


AWKWARD = ["code", "graph", "training", "forward", "type", "_parameters", "meta", "code.weight", "__x", "über", "a b",
           "lambda", "None", "global.weight", "a.class.b", "deep" + ".x" * 1200]  # fmt: skip


@pytest.mark.mxnet
@pytest.mark.parametrize("name", AWKWARD, ids=lambda name: name[:20])
def test_array_of_any_name_converts_and_goes_back(name, tmp_path):
    from mxnet_ref.any_graph import head_outputs

    net = Builder()
    head = net.call("broadcast_add", "sum", net.variable("data"), net.variable(name))
    text = json.dumps({"nodes": net.nodes, "arg_nodes": [0, 1], "heads": [[head, 0, 0]]})
    ones, data = np.ones((1, 3), np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    module = convert(parse_symbol(text), Params({name: ones}))
    assert mxnet_names(module).keys() == {name}
    back, params = to_symbol(module)
    assert params.arg.keys() == {name}
    found = (module, emitted_model(module, tmp_path))
    for each in [
        *[model(torch.from_numpy(data)).detach() for model in found],
        *head_outputs(back, params.arg, {}, {"data": data}),
    ]:
        np.testing.assert_array_equal(each, data + 1)


def test_names_that_become_the_same_stay_two_arrays():
    net = Builder()
    last = net.variable("data")
    arrays = {"lambda": 2, "lambda_": 3, "lambda.x": 5, "lambda_.x": 7}
    for name in arrays:
        last = net.call("broadcast_mul", f"times {name}", last, net.variable(name))
    text = json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[last, 0, 0]]})
    module = convert(parse_symbol(text), Params({name: np.full(1, each, np.float32) for name, each in arrays.items()}))
    assert module(data=torch.ones(1)).tolist() == [210]


def one_node(op: str, **attrs: str):
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": op, "name": "it", "attrs": attrs, "inputs": [[0, 0, 0]]},
    ]
    return parse_symbol(json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0, 0]]}))


def test_operator_registered_from_outside_is_used():
    with pytest.raises(InputError, match=r"Custom:doubled.*register a translation"):
        convert(one_node("Custom", op_type="doubled", times="3"), Params())

    @operator("Custom:doubled")
    def doubled(data: torch.Tensor, *, times: int = 2) -> torch.Tensor:
        """times * data."""
        return data * times

    try:
        assert convert(one_node("Custom", op_type="doubled", times="3"), Params())(data=torch.ones(2)).tolist() == [
            3,
            3,
        ]
    finally:
        del REGISTRY["Custom:doubled"]


@pytest.mark.parametrize(
    ("attrs", "words"),
    [({"act_type": "relu", "colour": "red"}, "no attribute 'colour'"), ({}, "needs act_type")],
)
def test_attribute_that_cannot_be_right_is_named(attrs, words):
    with pytest.raises(InputError, match=f"'it'.*{words}"):
        convert(one_node("Activation", **attrs), Params())


def test_page_of_operators_is_the_registry():
    assert PAGE.read_text(encoding="utf-8") == render(CASES, UNTRIED), "run python -m tests.convert_any.write_page"
