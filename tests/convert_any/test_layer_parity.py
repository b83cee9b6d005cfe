"""The layer table of any graph: what it forgives, and what it doesn't."""

import json

import numpy as np
import pytest
import torch

from tests.convert_any.small_graph import Builder
from weights_convert import Params, convert, parse_symbol

SCORES = np.array([[0.5, -1, -1, 0.75, *[-1] * 20, 0.5]], np.float32)  # MXNet's sort has an order of its own among -1s


def sorting(op: str, **attrs: object) -> str:
    net = Builder()
    data = net.variable("data")
    order = net.call(op, "order", data, **attrs)
    first = net.call("slice_axis", "first", order, axis=1, begin=0, end=9)
    net.call("pick", "picked", data, net.call("slice_axis", "one", first, axis=1, begin=8, end=9), keepdims=True)
    heads = [[each, 0, 0] for each in (first, len(net.nodes) - 1)]
    return json.dumps({"nodes": net.nodes, "arg_nodes": [data], "heads": heads,
                       "attrs": {"mxnet_version": ["int", 10901]}})  # fmt: skip


def table_of(text: str):
    from dcn_suite.parity.any_graph import verify

    return verify(text, Params({}, {}), {"data": SCORES})


@pytest.mark.mxnet
@pytest.mark.parametrize(("op", "attrs"), [("argsort", {"is_ascend": False}), ("topk", {"k": 20})])
def test_order_among_equal_values_is_taken_from_mxnet(op, attrs):
    found = table_of(sorting(op, **attrs))
    assert found["verdict"] == "holds", found["why"]


@pytest.mark.mxnet
def test_another_order_of_different_values_is_red():
    from weights_convert.translate.registry import BY_FUNCTION, REGISTRY, operator

    before = REGISTRY["argsort"]

    @operator("argsort", decides=True)
    def argsort(data: torch.Tensor, *, is_ascend: bool = True, dtype: str = "float32") -> torch.Tensor:
        """Turned around."""
        return torch.argsort(data, stable=True).to(data.dtype)

    try:
        found = table_of(sorting("argsort", is_ascend=False))
    finally:
        REGISTRY["argsort"] = before
        del BY_FUNCTION[argsort]
    assert found["verdict"] == "does not hold" and "order" in found["why"]


def recurrent_step() -> tuple[str, Params]:
    """A cell whose begin state has a batch of 0, which MXNet infers; the state is joined to the data, too."""
    net = Builder()
    data = net.variable("data")
    begin = net.call("_zeros", "begin_state", shape="(0, 4)")
    old = net.call("FullyConnected", "h2h", begin, net.variable("h2h_weight"), net.variable("h2h_bias"), num_hidden=4)
    new = net.call("Activation", "out", net.call("elemwise_add", "sum", old, data), act_type="tanh")
    both = net.call("Concat", "both", begin, new, num_args=2, dim=1)
    text = json.dumps({"nodes": net.nodes, "arg_nodes": [data], "heads": [[both, 0, 0]],
                       "attrs": {"mxnet_version": ["int", 10901]}})  # fmt: skip
    rng = np.random.default_rng(0)
    weights = {"h2h_weight": rng.standard_normal((4, 4)), "h2h_bias": rng.standard_normal(4)}
    return text, Params({name: value.astype(np.float32) for name, value in weights.items()})


@pytest.mark.mxnet
def test_batch_of_a_begin_state_is_inferred_and_what_reads_it_is_judged():
    from dcn_suite.parity.any_graph import verify

    text, params = recurrent_step()
    data = {"data": np.random.default_rng(1).standard_normal((3, 4), dtype=np.float32)}
    assert convert(parse_symbol(text), params)(data=torch.from_numpy(data["data"])).shape == (3, 8)
    found = verify(text, params, data)
    assert found["verdict"] == "holds", found["why"]


def test_only_what_reads_a_begin_state_may_broadcast():
    from dcn_suite.parity.any_graph import broadcasting

    text, params = recurrent_step()
    assert {name for name, _ in broadcasting(convert(parse_symbol(text), params))} == {
        "begin_state", "h2h", "sum", "out", "both",
    }  # fmt: skip
    assert not broadcasting(convert(parse_symbol(text.replace("(0, 4)", "(3, 4)")), params))


@pytest.mark.mxnet
def test_relu_of_mxnets_recurrent_layer_is_no_float64_witness():
    from dcn_suite.parity.any_graph import verify

    net = Builder()
    ends = [net.variable(name) for name in ("data", "flat_parameters", "state")]
    net.call("RNN", "rnn", *ends, state_size=4, num_layers=1, mode="rnn_relu")
    text = json.dumps({"nodes": net.nodes, "arg_nodes": ends, "heads": [[3, 0, 0]],
                       "attrs": {"mxnet_version": ["int", 10901]}})  # fmt: skip
    rng = np.random.default_rng(0)
    given = {"data": rng.standard_normal((5, 2, 3)), "state": rng.standard_normal((1, 2, 4))}
    found = verify(text, Params({"flat_parameters": rng.standard_normal(36).astype(np.float32) / 4}),
                   {name: value.astype(np.float32) for name, value in given.items()})  # fmt: skip
    assert found["verdict"] == "holds" and "float32 inside its ReLU" in found["note"], found


def test_places_named_twice_are_not_taken_over():
    from dcn_suite.parity.graph_outputs import same_values

    rows, own = torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([[0, 1, 2]])
    assert same_values(rows, 1, own, torch.tensor([[1, 0, 2]]))
    assert not same_values(rows, 1, own, torch.tensor([[1, 1, 2]]))
    assert not same_values(rows, 1, own, torch.tensor([[2, 0, 1]]))


def test_what_follows_a_comparison_may_part_in_float32():
    from dcn_suite.parity.any_graph import undecided

    net = Builder()
    data = net.variable("data")
    doubled = net.call("_mul_scalar", "doubled", data, scalar=2)
    above = net.call("_greater_scalar", "above", doubled, scalar=0.01)
    net.call("elemwise_mul", "kept", doubled, above)
    text = json.dumps({"nodes": net.nodes, "arg_nodes": [data], "heads": [[3, 0, 0]]})
    found = undecided(convert(parse_symbol(text), Params({}, {})))
    assert {key[0] for key in found} == {"above", "kept"}
