"""Int8 graphs, node by node against MXNet: whole numbers are equal, and every planted mistake shows."""

import json

import numpy as np
import pytest
import torch

from dcn_tasks.errors import InputError
from tests.convert_any.cases.int8 import inner_conv
from tests.convert_any.small_graph import Builder
from weights_convert import Params, convert, parse_symbol, save_weights
from weights_convert.translate.back import to_symbol
from weights_convert.translate.operators import fused, quantized
from weights_convert.translate.source import to_source

CHANNELS = 8
INPUT = {"data": np.random.default_rng(0).standard_normal((2, CHANNELS, 10, 11), dtype=np.float32)}
INPUT["data"].flat[0] = -6.0  # the farthest is below 0: -127.5 rounds to -128


class Int8Builder(Builder):
    """Adds quantised layers, each with its arrays drawn."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(1)
        self.arg, self.aux = {}, {}

    def array(self, name: str, *shape: int, low: float | None = None) -> int:
        drawn = self.rng.standard_normal(shape) / 8 if low is None else self.rng.uniform(low, 1.5, shape)
        (self.aux if "moving" in name else self.arg)[name] = drawn.astype(np.float32)
        return self.variable(name)

    def conv(
        self, name: str, data: int, *, high: float, norm: bool = False, added: int | None = None, relu: bool = True
    ) -> int:
        inner, flags = inner_conv(CHANNELS, not norm, norm, added is not None, relu, pad="(1, 1)")
        ends = [[data, 0, 0], [self.array(f"{name}_weight", CHANNELS, CHANNELS, 3, 3), 0, 0]]
        if norm:
            ends += [[self.array(f"{name}_{each}", CHANNELS, low=0.5), 0, int("moving" in each)]
                     for each in ("gamma", "beta", "moving_mean", "moving_var")]  # fmt: skip
        else:
            ends.append([self.array(f"{name}_bias", CHANNELS), 0, 0])
        ends += [[added, 0, 0]] if added is not None else []
        for each in (data,) if added is None else (data, added):
            ends += [[each, 1, 0], [each, 2, 0]]
        attrs = {
            **flags,
            "quantized": "true",
            "min_calib_range": str(0.0 if relu else -high),
            "max_calib_range": str(high),
        }
        self.nodes.append({"op": "_sg_mkldnn_conv", "name": name, "attrs": attrs, "inputs": ends, "subgraphs": [inner]})
        return len(self.nodes) - 1

    def ranged(self, op: str, name: str, *data: int, **attrs: object) -> int:
        """An operator of whole numbers, which reads their ranges too."""
        place = self.call(op, name, *data, **attrs)
        self.nodes[place]["inputs"] += [[each, end, 0] for each in data for end in (1, 2)]
        return place


@pytest.fixture(scope="module")
def int8_graph() -> tuple[str, Params]:
    net = Int8Builder()
    stem = net.conv(
        "stem", net.call("_contrib_quantize_v2", "quantized", net.variable("data"), out_type="auto"), high=4.0
    )
    pool = net.ranged("_contrib_quantized_pooling", "pool", stem, kernel="(2, 2)", stride="(2, 2)", pool_type="avg")
    short = net.conv("short", pool, high=3.0, norm=True, relu=False)
    unit = net.conv("unit", pool, high=4.0, norm=True, added=short)
    joined = net.ranged("_contrib_quantized_concat", "joined", unit, pool, num_args=2, dim=1)
    real = net.ranged("_contrib_dequantize", "real", joined)
    resized = net.call("_contrib_BilinearResize2D", "resized", net.call("slice_axis", "half", real, axis=1, begin=0, end=8),
                       height=7, width=9)  # fmt: skip
    again = net.call("_contrib_quantize_v2", "again", resized, out_type="auto")
    net.ranged("_contrib_dequantize", "ends", net.conv("last", again, high=5.0, relu=False))
    heads = [[len(net.nodes) - 1, 0, 0], [resized, 0, 0]]
    places = [place for place, node in enumerate(net.nodes) if node["op"] == "null"]
    text = json.dumps(
        {"nodes": net.nodes, "arg_nodes": places, "heads": heads, "attrs": {"mxnet_version": ["int", 10901]}}
    )
    return text, Params(net.arg, net.aux)


def verdict(graph: tuple[str, Params]) -> dict:
    from dcn_suite.parity.any_graph import verify

    return verify(*graph, INPUT)


@pytest.mark.mxnet
def test_every_node_of_an_int8_graph_is_mxnets(int8_graph):
    found = verdict(int8_graph)
    assert found["verdict"] == "holds", found["why"]
    assert len(found["rows"]) == 28 and all(row["verdict"] == "holds" for row in found["rows"])
    assert not found["note"], "the floating-point part ran in float64"


def half_up(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    ends = torch.iinfo(dtype)
    return (values.double() + 0.5).floor().clamp(ends.min, ends.max).to(dtype)


def whole_range(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Without -128."""
    ends = torch.iinfo(dtype)
    return values.double().round().clamp(max(ends.min, -ends.max), ends.max).to(dtype)


@pytest.mark.mxnet
@pytest.mark.parametrize(
    ("where", "name", "mistake"),
    [
        (quantized, "REACH", {torch.int8: 127.0, torch.uint8: 255.0}),
        (quantized, "to_whole", whole_range),
        (fused, "to_whole", half_up),
        (fused, "weight_scales", lambda weight, bias, data_scale: torch.full((CHANNELS,), 200.0)),
        (fused, "folded", lambda weight, bias, norm, eps, fix_gamma: (weight, norm[1])),
    ],
    ids=["ranges of 127 and 255", "no -128", "halves up", "one scale for all channels", "BatchNorm left out"],
)
def test_planted_mistake_in_whole_numbers_is_red(int8_graph, monkeypatch, where, name, mistake):
    monkeypatch.setattr(where, name, mistake)
    assert verdict(int8_graph)["verdict"] == "does not hold"


def test_whole_number_is_taken_over_on_a_half_alone():
    from dcn_suite.parity.whole_numbers import HALF_WIDTH, with_their_halves

    data = torch.tensor([2.5 - HALF_WIDTH / 2, 2.5 - 2 * HALF_WIDTH, 7.0], dtype=torch.float64)
    their_data = np.array([2.5001, 2.5001, 8.0], np.float32)
    how = {"min_calib_range": -127.5, "max_calib_range": 127.5}
    theirs = [each.numpy() for each in quantized.quantize_v2(torch.from_numpy(their_data), **how)]
    assert theirs[0].tolist() == [3, 3, 8]
    (whole, _, _), apart = with_their_halves(data, quantized.quantize_v2(data, **how), their_data, theirs, **how)
    assert whole.tolist() == [3, 2, 7] and apart == 1


def test_whole_number_that_the_rule_does_not_give_is_never_taken_over():
    from dcn_suite.parity.whole_numbers import with_their_halves

    data = np.array([-127.5, 2.5], np.float32)
    how = {"min_calib_range": -127.5, "max_calib_range": 127.5}
    own = quantized.quantize_v2(torch.from_numpy(data), **how)
    theirs = [np.array([-127, 2], np.int8), *(each.numpy() for each in own[1:])]
    (whole, _, _), apart = with_their_halves(torch.from_numpy(data), own, data, theirs, **how)
    assert whole.tolist() == [-128, 2] and apart == 0


def test_floating_point_part_starts_from_dequantized_arrays(int8_graph):
    from dcn_suite.parity.whole_numbers import floating_part

    text, given = floating_part(int8_graph[0])
    assert given == ["real", "ends"]
    assert parse_symbol(text).op_counts() == {"slice_axis": 1, "_contrib_BilinearResize2D": 1}


def test_int8_graph_without_whole_numbers_stays(int8_graph):
    from dcn_suite.parity.whole_numbers import floating_part

    text = json.dumps({"nodes": [{"op": "null", "name": "a", "inputs": []}], "heads": [[0, 0, 0]]})
    assert floating_part(text) == (text, [])


@pytest.mark.mxnet
def test_int8_graph_goes_back_to_mxnet_with_its_inner_graphs(int8_graph):
    from mxnet_ref.any_graph import head_outputs

    text, params = int8_graph
    again, arrays = to_symbol(convert(parse_symbol(text), params))
    for one, other in zip(head_outputs(text, params.arg, params.aux, INPUT),
                          head_outputs(again, arrays.arg, arrays.aux, INPUT), strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_changed_fused_node_does_not_go_back(int8_graph):
    text, params = int8_graph
    module = convert(parse_symbol(text), params)
    node = next(each for each in module.graph.nodes if each.target is fused.sg_mkldnn_conv)
    node.kwargs = {**node.kwargs, "max_calib_range": 1.0}
    with pytest.raises(InputError, match="stem: attributes of the fused _sg_mkldnn_conv were changed"):
        to_symbol(module)


def test_source_of_an_int8_graph_computes_the_same(int8_graph, tmp_path):
    text, params = int8_graph
    module = convert(parse_symbol(text), params)
    save_weights(
        tmp_path / "model.safetensors", {name: each.detach() for name, each in module.state_dict().items()}, {}
    )
    space: dict = {}
    exec(compile(to_source(module), "model.py", "exec"), space)
    data = torch.from_numpy(INPUT["data"])
    for one, other in zip(space["Model"]().load(tmp_path / "model.safetensors")(data), module(data=data), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda node: node.pop("subgraphs"), "expected one inner graph, got 0"),
        (lambda node: node.update(subgraphs=[{"nodes": 3}]), "is no MXNet graph"),
        (lambda node: node.update(subgraphs="text"), "`subgraphs` is no list of graphs"),
        (lambda node: node["subgraphs"][0]["nodes"][-1].update(op="Pooling"), "fuses Convolution, Pooling"),
    ],
)
def test_inner_graph_that_cannot_be_read_is_refused(int8_graph, change, message):
    content = json.loads(int8_graph[0])
    change(next(node for node in content["nodes"] if node["name"] == "stem"))
    with pytest.raises(InputError, match=message):
        convert(parse_symbol(json.dumps(content)), int8_graph[1])
