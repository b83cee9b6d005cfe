"""The copy for inference is the same function, with fewer calls."""

import numpy as np
import pytest
import torch

from tests.convert_any.small_graph import Builder, small_graph, small_params
from tests.tolerances import FLOAT32_NETWORK, FLOAT64_SAME_FUNCTION
from weights_convert import Params, convert, parse_symbol
from weights_convert.translate.inference import for_inference
from weights_convert.translate.operators.binary import elemwise_add
from weights_convert.translate.operators.normalization import batch_norm, dropout
from weights_convert.translate.packing import packed_convolution, packed_deconvolution

RNG = np.random.default_rng(5)
STATES = ("gamma", "beta", "moving_mean", "moving_var")


def arrays(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: RNG.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in shapes.items()}


def made(build, **shapes: tuple[int, ...]):
    """A module in float64 of what `build` adds after `data`, with arrays of the given shapes."""
    import json

    net = Builder()
    heads = build(net, net.variable("data"))
    text = json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[each, 0, 0] for each in heads],
                       "attrs": {"mxnet_version": ["int", 10901]}})  # fmt: skip
    given = arrays(**shapes)
    aux = {name: value for name, value in given.items() if "moving" in name}
    arg = {name: value for name, value in given.items() if name not in aux}
    return convert(parse_symbol(text), Params(arg, aux)).double()


def norm(net: Builder, data: int, name: str, **attrs: object) -> int:
    return net.call("BatchNorm", name, data, *[net.variable(f"{name}_{each}") for each in STATES], aux=2, **attrs)


def states(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}_{each}": (channels,) for each in STATES}


def calls_of(module, function) -> int:
    return sum(each.target is function for each in module.graph.nodes)


def assert_same(module, data: torch.Tensor, **options: bool):
    before = data.clone()
    expected = module(data=data)
    fast = for_inference(module, **options)
    found = fast(data=data)
    for ours, wanted in zip(
        *((each if isinstance(each, tuple) else (each,)) for each in (found, expected)), strict=True
    ):
        assert (ours - wanted).abs().max() <= FLOAT64_SAME_FUNCTION * wanted.abs().max()
    assert torch.equal(data, before), "the input was overwritten"
    return fast


@pytest.mark.parametrize("channels_last", [False, True])
def test_small_network_is_the_same_function_without_batch_norm(channels_last):
    module = convert(small_graph(), small_params()).double()
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    data = torch.from_numpy(RNG.standard_normal((3, 4, 6, 5)))
    fast = assert_same(module, data, channels_last=channels_last)
    assert calls_of(module, batch_norm) == 2 and calls_of(fast, batch_norm) == 0
    assert not any("bn" in name and "folded" not in name for name in fast.state_dict())
    assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("fix_gamma", [False, True])
def test_grouped_layers_with_bias_fold(fix_gamma):
    def build(net, data):
        conv = net.call("Convolution", "conv", data, net.variable("cw"), net.variable("cb"), kernel="(3,3)", num_filter=6,
                        num_group=2)  # fmt: skip
        one = norm(net, conv, "one", fix_gamma=fix_gamma, eps="0.02")
        up = net.call("Deconvolution", "up", one, net.variable("uw"), net.variable("ub"), kernel="(4,4)", stride="(2,2)",
                      num_filter=4, num_group=2, no_bias=False)  # fmt: skip
        two = norm(net, up, "two", fix_gamma=fix_gamma)
        dense = net.call("FullyConnected", "fc", two, net.variable("fw"), num_hidden=5, no_bias=True)
        return [net.call("Dropout", "drop", norm(net, dense, "three", fix_gamma=fix_gamma), p=0.5)]

    module = made(build, cw=(6, 2, 3, 3), cb=(6,), uw=(6, 2, 4, 4), ub=(4,), fw=(5, 4 * 10 * 8), **states("one", 6),
                  **states("two", 4), **states("three", 5))  # fmt: skip
    fast = assert_same(module, torch.from_numpy(RNG.standard_normal((2, 4, 6, 5))))
    assert calls_of(fast, batch_norm) == calls_of(fast, dropout) == 0


def test_layer_that_others_read_keeps_its_batch_norm_and_its_values():
    def build(net, data):
        conv = net.call("Convolution", "conv", data, net.variable("cw"), kernel="(1,1)", num_filter=4, no_bias=True)
        relu = net.call("Activation", "relu", norm(net, conv, "bn", fix_gamma=False), act_type="relu")
        again = net.call("Activation", "relu2", conv, act_type="relu")
        both = net.call("elemwise_add", "both", relu, again)
        twice = net.call("elemwise_add", "twice", both, both)
        return [twice, both, conv]

    module = made(build, cw=(4, 4, 1, 1), **states("bn", 4))
    fast = assert_same(module, torch.from_numpy(RNG.standard_normal((2, 4, 6, 5))))
    assert calls_of(fast, batch_norm) == 1


def test_weight_of_two_layers_is_folded_for_each():
    def build(net, data):
        weight = net.variable("cw")
        same = {"kernel": "(1,1)", "num_filter": 4, "no_bias": True}
        one = norm(net, net.call("Convolution", "first", data, weight, **same), "one", fix_gamma=False)
        return [norm(net, net.call("Convolution", "second", one, weight, **same), "two", fix_gamma=False)]

    module = made(build, cw=(4, 4, 1, 1), **states("one", 4), **states("two", 4))
    assert calls_of(assert_same(module, torch.from_numpy(RNG.standard_normal((2, 4, 3, 3)))), batch_norm) == 0


def test_packed_copy_computes_what_float64_does_for_any_size():
    def build(net, data):
        same = {"kernel": "(3,3)", "num_filter": 4, "pad": "(1,1)"}
        one = net.call("Convolution", "one", data, net.variable("w1"), net.variable("b1"), **same)
        two = net.call("Activation", "relu", norm(net, one, "bn", fix_gamma=False), act_type="relu")
        grouped = net.call("Convolution", "two", two, net.variable("w2"), no_bias=True, num_group=2, **same)
        total = net.call("elemwise_add", "sum", data, grouped)
        last = net.call("Activation", "last", total, act_type="relu")
        up = net.call("Deconvolution", "up", last, net.variable("w3"), kernel="(4,4)", stride="(2,2)", pad="(1,1)",
                      adj="(1,0)", num_filter=6, num_group=2)  # fmt: skip
        return [last, two, net.call("Activation", "upper", norm(net, up, "bn3"), act_type="relu")]

    shapes = {"w1": (4, 4, 3, 3), "b1": (4,), "w2": (4, 2, 3, 3), "w3": (4, 3, 4, 4)}
    module = made(build, **shapes, **states("bn", 4), **states("bn3", 6)).float()
    data = torch.from_numpy(RNG.standard_normal((1, 4, 9, 7), dtype=np.float32))
    fast = for_inference(module, inputs={"data": data})
    assert calls_of(fast, packed_convolution) == 2 and calls_of(fast, packed_deconvolution) == 1
    assert calls_of(fast, elemwise_add) == calls_of(fast, torch.relu_) == 0
    expected = {}
    for shape in ((1, 4, 9, 7), (2, 4, 5, 12)):
        given = torch.from_numpy(RNG.standard_normal(shape, dtype=np.float32))
        expected[given] = [fast(data=given), module.double()(data=given.double())]
        module.float()
    for found, wanted in expected.values():
        for ours, theirs in zip(found, wanted, strict=True):
            assert (ours - theirs).abs().max() <= FLOAT32_NETWORK * theirs.abs().max()
