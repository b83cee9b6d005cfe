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
