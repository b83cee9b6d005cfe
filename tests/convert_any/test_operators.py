"""Every operator, case by case, against MXNet 1.9.1: float64 the same function, float32 no worse than MXNet's own."""

import json

import numpy as np
import pytest
import torch

from dcn_suite.parity.graph_outputs import as_tensor
from tests.convert_any.cases import CASES
from tests.convert_any.cases.case import case
from tests.tolerances import ERROR_RATIO, FLOAT32_ROUNDING, FLOAT64_SAME_FUNCTION, OPERATOR_FLOAT32
from weights_convert import Params, convert, parse_symbol
from weights_convert.graph import Node
from weights_convert.translate.module import attributes_of
from weights_convert.translate.precision import in_float64
from weights_convert.translate.registry import REGISTRY

TABLE = [(op, name) for op, cases in CASES.items() for name in cases]
AUX = ("moving_mean", "moving_var")


def one_node(op: str, case) -> tuple[str, dict, dict]:
    """A symbol.json of one node with every output as a head, its inputs, and its auxiliary states."""
    found = REGISTRY[op]
    arrays = case.arrays()
    names = [f"{found.input_name(place)}{place}" for place in range(len(arrays))]
    aux = {name for place, name in enumerate(names) if found.input_name(place) in AUX or place in case.aux}
    nodes = [{"op": "null", "name": name, "inputs": []} for name in names]
    ends = [[place, 0, int(name in aux)] for place, name in enumerate(names)]
    inner = {"subgraphs": [case.inner]} if case.inner else {}
    nodes.append({"op": op, "name": "node", "attrs": case.attrs, "inputs": ends, **inner})
    values = attributes_of(Node(op, "node", case.attrs, subgraphs=tuple(inner.get("subgraphs", ()))), found)
    heads = [[len(names), index, 0] for index in range(found.outputs(values))]
    text = json.dumps({"nodes": nodes, "arg_nodes": list(range(len(names))), "heads": heads,
                       "attrs": {"mxnet_version": ["int", 10901]}})  # fmt: skip
    given = dict(zip(names, arrays, strict=True))
    return text, {name: each for name, each in given.items() if name not in aux}, {name: given[name] for name in aux}


def torch_outputs(text: str, inputs: dict, aux: dict, dtype: str) -> list[np.ndarray]:
    module = convert(parse_symbol(text), Params({}, dict(aux)), inputs=inputs).to(getattr(torch, dtype))
    cast = {name: as_tensor(value, dtype) for name, value in inputs.items()}
    with torch.no_grad():
        found = module(**cast)
    return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]


def without_lowest(arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """With 0 where all have their type's lowest number: the maximum of a window that lies in the padding alone."""
    lowest = [
        each == np.finfo(each.dtype).min if each.dtype.kind == "f" else np.zeros(each.shape, bool) for each in arrays
    ]
    for mask in lowest[1:]:
        np.testing.assert_array_equal(mask, lowest[0])
    kinds = [np.uint8 if each.dtype == bool else each.dtype for each in arrays]
    return [np.where(mask, 0, each).astype(kind) for mask, each, kind in zip(lowest, arrays, kinds, strict=True)]


def mxnet_outputs(text: str, aux: dict, inputs: dict, **options: str) -> list[np.ndarray]:
    """Outputs of the node itself; in a witness it may stand for several."""
    from mxnet_ref.any_graph import every_output

    return [value for key, value in every_output(text, {}, aux, inputs, **options).items() if key[0] == "node"]


@pytest.mark.mxnet
@pytest.mark.parametrize(("op", "name"), TABLE, ids=[f"{op}: {name}" for op, name in TABLE])
def test_operator_is_mxnets(op, name):
    case = CASES[op][name]
    text, inputs, aux = one_node(op, case)
    theirs32 = mxnet_outputs(text, aux, inputs)
    ours32 = torch_outputs(text, inputs, aux, "float32")
    assert [each.shape for each in ours32] == [each.shape for each in theirs32[: len(ours32)]]
    if "dtype" in case.attrs:
        assert [each.dtype for each in ours32] == [each.dtype for each in theirs32[: len(ours32)]]
    if case.only32:
        for ours, theirs in zip(ours32, theirs32, strict=False):
            np.testing.assert_allclose(
                ours, theirs, rtol=OPERATOR_FLOAT32, atol=OPERATOR_FLOAT32 * np.abs(theirs).max(initial=0)
            )
        return
    theirs64 = mxnet_outputs(in_float64(text), aux, inputs, dtype="float64")
    ours64 = torch_outputs(in_float64(text), inputs, aux, "float64")
    for each in zip(ours64, theirs64, ours32, theirs32, strict=False):
        ours, theirs, short, short_theirs = without_lowest(each)
        scale = np.abs(theirs.astype(np.float64)).max(initial=0)
        assert np.abs(ours.astype(np.float64) - theirs).max(initial=0) <= FLOAT64_SAME_FUNCTION * scale
        allowed = (
            ERROR_RATIO * np.abs(short_theirs.astype(np.float64) - theirs).max(initial=0) + FLOAT32_ROUNDING * scale
        )
        assert np.abs(short.astype(np.float64) - theirs).max(initial=0) <= allowed


@pytest.mark.mxnet
def test_old_maximum_of_a_window_beyond_the_map_is_minus_infinity():
    text, inputs, aux = one_node(
        "Pooling_v1", case((1, 1, 6, 6), kernel="(1,1)", stride="(3,3)", pooling_convention="full")
    )
    (ours,), (theirs,) = torch_outputs(text, inputs, aux, "float32"), mxnet_outputs(text, aux, inputs)
    np.testing.assert_array_equal(ours, theirs)
    assert np.isneginf(theirs).sum() == 5


def test_every_operator_has_a_case_or_a_reason():
    tried = {REGISTRY[op].name for op in CASES}
    without = {each.name for each in REGISTRY.values()} - tried - UNTRIED.keys()
    assert not without, f"no case and no reason: {sorted(without)}"
    assert not UNTRIED.keys() & tried, "has a case by now"


UNTRIED = {
    **dict.fromkeys((each.name for each in REGISTRY.values() if each.random), "random numbers differ by design"),
    "_contrib_SyncBatchNorm": "BatchNorm on one device",
    "_rnn_param_concat": "Concat under another name",
    "_contrib_Proposal": "torch_port.ops.proposal has its own tests",
    "IdentityAttachKLSparseReg": "identity",
    "_CrossDeviceCopy": "identity",
    "_identity_with_attr_like_rhs": "identity",
    "fill_element_0index": "MXNet 1.9.1 crashes when it is bound alone",
    "cast_storage": "identity",
    "_contrib_gradientmultiplier": "identity",
    "amp_cast": "Cast",
    "amp_multicast": "Cast",
    "_zeros_without_dtype": "_zeros",
    "SpatialTransformer": "GridGenerator and BilinearSampler",
}
