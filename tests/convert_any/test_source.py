"""The readable source of a converted module: alone it gives the same numbers, whatever the nodes are called."""

import json

import numpy as np
import pytest
import torch

from tests.convert_any.emitted import emitted_model
from tests.convert_any.small_graph import Builder
from weights_convert import Params, convert, parse_symbol
from weights_convert.translate.source import to_source


def same(module, emitted, data) -> bool:
    found, expected = emitted(data), module(data=data)
    pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else ((found, expected),)
    return all(torch.equal(one, other) for one, other in pairs)


def test_source_alone_gives_the_same_numbers(module, data, tmp_path):
    text = to_source(module, 'a "title"')
    assert "weights_convert" not in text and "\nimport torch\n" in text
    assert same(module, emitted_model(module, tmp_path), data)


def test_like_blocks_share_a_class(module):
    text = to_source(module)
    assert "self.unit1 = Unit()" in text and "self.unit2 = Unit()" in text


def convolutions(net: Builder, last: int, names: list[str]) -> tuple[int, dict]:
    """One 1x1 convolution after the other, of the names given. Returns: the last one, and their weights."""
    weights = {}
    for place, name in enumerate(names):
        weights[f"{name}_weight"] = np.random.default_rng(place).standard_normal((4, 4, 1, 1)).astype(np.float32)
        last = net.call("Convolution", name, last, net.variable(f"{name}_weight"), kernel="(1, 1)", num_filter=4,
                        no_bias=True)  # fmt: skip
    return last, weights


def built(net: Builder, head: int, weights: dict):
    content = {"nodes": net.nodes, "arg_nodes": [], "heads": [[head, 0, 0]]}
    return convert(parse_symbol(json.dumps(content)), Params(weights))


def test_scope_that_comes_twice_in_a_block_becomes_two_blocks(data, tmp_path):
    """ArcFace: the sums between the units of a stage are called _plus0, _plus1, ..., outside of it."""
    net = Builder()
    data_place = last = net.variable("data")
    weights = {}
    for unit in ("stage1_unit1", "stage1_unit2"):
        last, own = convolutions(net, last, [f"{unit}_conv{number}" for number in range(3)])
        last = net.call("elemwise_add", f"_plus{unit[-1]}", last, data_place)
        weights |= own
    module = built(net, last, weights)
    assert to_source(module).count("self.stage1") >= 2
    assert same(module, emitted_model(module, tmp_path), data)


# Scopes and nodes with the names of what a module has, of the operators' functions and of what the file imports.
AWKWARD = [
    "type", "train", "load", "parameter", "forward", "self", "torch", "convolution", "relu", "flatten", "F", "class",
]  # fmt: skip


@pytest.mark.parametrize("scope", AWKWARD)
def test_scope_of_any_name_works(scope, data, tmp_path):
    net = Builder()
    last, weights = convolutions(net, net.variable("data"), [f"{scope}_{number}_conv" for number in range(3)])
    last, own = convolutions(net, last, [scope])
    last = net.call("Flatten", "flatten", net.call("relu", "relu", net.call("sigmoid", scope, last)))
    module = built(net, last, weights | own)
    assert same(module, emitted_model(module, tmp_path), data)


def test_input_that_may_be_absent_goes_into_a_block(data, tmp_path):
    net = Builder()
    first, lengths = net.variable("data"), net.variable("lengths")
    last = first
    for number in range(3):
        last = net.call("SequenceReverse", f"back_{number}", last, lengths, use_sequence_length=True)
        last = net.call("elemwise_add", f"back_{number}_sum", last, first)
    module = built(net, last, {})
    count = torch.tensor([1.0, 3.0, 2.0, 1.0])
    assert torch.equal(emitted_model(module, tmp_path)(data, count), module(data=data, lengths=count))


def test_parameter_may_be_called_like_a_block(data, tmp_path):
    net = Builder()
    last, weights = convolutions(net, net.variable("data"), [f"scale_conv{number}" for number in range(3)])
    last = net.call("broadcast_mul", "scaled", last, net.variable("scale"))
    module = built(net, last, weights | {"scale": np.full((1, 4, 1, 1), 3, np.float32)})
    assert same(module, emitted_model(module, tmp_path), data)


def test_name_cannot_reach_the_generated_source():
    nodes = [{"op": "null", "name": "data", "inputs": []}, {"op": "null", "name": 'x"); raise SystemExit  #', "inputs": []},
             {"op": "elemwise_add", "name": 'y"\n', "inputs": [[0, 0, 0], [1, 0, 0]]}]  # fmt: skip
    graph = parse_symbol(json.dumps({"nodes": nodes, "arg_nodes": [0, 1], "heads": [[2, 0, 0]]}))
    module = convert(graph, Params({'x"); raise SystemExit  #': np.ones(2, np.float32)}))
    assert module(data=torch.ones(2)).tolist() == [2, 2]
    compile(to_source(module), "model.py", "exec")


def call_of(op: str, inputs: int = 1, **attrs: object):
    net = Builder()
    return built(net, net.call(op, "node", *[net.variable("data") for _ in range(inputs)], **attrs), {})


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("clip", {"a_min": "-inf", "a_max": "inf"}),
        ("_full", {"shape": "(2,)", "value": "nan"}),
        ("_contrib_MultiBoxPrior", {"sizes": "(inf, 0.1)"}),
    ],
)
def test_number_that_is_not_finite_is_written_as_python_reads_it(op, attrs, tmp_path):
    module = call_of(op, 0 if op == "_full" else 1, **attrs)
    given = [torch.tensor([[[[1.0, -2.0]]]])][: len(module.meta["mxnet"]["inputs"])]
    assert torch.equal(emitted_model(module, tmp_path)(*given).nan_to_num(7), module(*given).nan_to_num(7))


def test_side_of_nine_thirds_is_the_same_in_the_source(tmp_path):
    """0.3333333 * 9 is 2.99, the float32 nearest to a third times 9 is 3.0000003."""
    module = call_of("_contrib_BilinearResize2D", scale_height=0.3333333333333333, scale_width=1)
    image = torch.rand(1, 1, 9, 5, generator=torch.Generator().manual_seed(1))
    assert same(module, emitted_model(module, tmp_path), image)


@pytest.mark.parametrize(
    ("op", "attrs", "shape"),
    [
        ("LeakyReLU", {"act_type": "leaky", "slope": 0.1}, (2, 3)),
        ("L2Normalization", {}, (2, 3)),
        ("hard_sigmoid", {}, (2, 3)),
    ],
)
def test_source_has_the_numbers_of_the_module_in_float64_too(op, attrs, shape, tmp_path):
    module = call_of(op, **attrs)
    values = torch.linspace(-1e-5, 1e-5, int(np.prod(shape)), dtype=torch.float64).reshape(shape)
    assert same(module, emitted_model(module, tmp_path), values)
