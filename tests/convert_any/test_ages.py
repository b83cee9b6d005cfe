"""Graphs of older MXNets mean what MXNet 1.9.1 makes of them."""

import json

import numpy as np
import pytest
import torch

from dcn_tasks.errors import InputError
from weights_convert import Params, convert, parse_symbol
from weights_convert.translate.back import to_symbol

DATA = np.random.default_rng(3).standard_normal((2, 3, 4, 5), dtype=np.float32)


def text_of(op: str, version: int | None, variables: tuple[str, ...], **attrs: str) -> str:
    nodes = [{"op": "null", "name": name, "inputs": []} for name in variables]
    ends = [[place, 0, 0] for place in range(len(variables))]
    nodes.append({"op": op, "name": "node", "attr": attrs, "inputs": ends})
    content = {"nodes": nodes, "arg_nodes": list(range(len(variables))), "heads": [[len(variables), 0, 0]]}
    return json.dumps(content | ({"attrs": {"mxnet_version": ["int", version]}} if version else {}))


@pytest.mark.mxnet
@pytest.mark.parametrize("axis", ["-1", "1"])
@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize("version", [None, 904, 905, 10901])
def test_argmax_over_the_last_axis_is_over_all_axes_before_0_9_5(op, version, axis):
    from mxnet_ref.any_graph import every_output

    text = text_of(op, version, ("data",), axis=axis)
    (theirs,) = every_output(text, {}, {}, {"data": DATA}).values()
    ours = convert(parse_symbol(text), Params({}, {}))(data=torch.from_numpy(DATA)).numpy()
    assert (ours.size == 1) == (axis == "-1" and version in (None, 904))
    np.testing.assert_array_equal(ours, theirs)


CONVOLUTION = {"kernel": "(1, 1)", "num_filter": "3", "weight_lr_mult": "0.25", "bias_wd_mult": "0", "lr_mult": "7"}
WEIGHTS = {"w": np.ones((3, 3, 1, 1), np.float32), "b": np.zeros(3, np.float32)}


@pytest.mark.mxnet
def test_multiplier_of_an_input_goes_to_its_variable():
    import mxnet as mx

    text = text_of("Convolution", 800, ("data", "w", "b"), **CONVOLUTION)
    back, _ = to_symbol(convert(parse_symbol(text), Params(WEIGHTS, {})))
    theirs = mx.sym.load_json(text).attr_dict()
    ours = {node["name"]: node.get("attrs", {}) for node in json.loads(back)["nodes"]}
    for name, key, value in (("w", "__lr_mult__", "0.25"), ("b", "__wd_mult__", "0"), ("node", "__lr_mult__", "7")):
        assert ours[name][key] == theirs[name][key] == value
    assert "weight_lr_mult" not in ours["node"]


def test_multiplier_that_names_no_input_is_refused_as_mxnet_refuses_it():
    text = text_of("Convolution", 800, ("data", "w", "b"), **(CONVOLUTION | {"bogus_lr_mult": "1"}))
    with pytest.raises(InputError, match="no attribute 'bogus_lr_mult'"):
        convert(parse_symbol(text), Params(WEIGHTS, {}))
