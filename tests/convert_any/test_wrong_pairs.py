"""A parameter file of another graph, inputs of another size, nodes that hold graphs: each ends in a sentence that names what is wrong."""

import json

import numpy as np
import pytest
import torch

from dcn_suite.parity.trial import check_runs
from dcn_tasks.errors import InputError
from tests.convert_any.small_graph import Builder, small_graph, small_params
from weights_convert import Params, convert, parse_symbol
from weights_convert.arrays import Sparse


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("fc_weight", (5, 4), r"fc_weight: the file has \[5, 4\], and FullyConnected 'fc' wants \[4, any\] for its weight"),
        ("fc_bias", (5,), r"fc_bias: .*'fc' wants \[4\] for its bias"),
        ("stage1_unit1_conv_weight", (4, 4, 5, 5), r"\[4, 4, 5, 5\], and Convolution 'stage1_unit1_conv' wants \[4, any, 3, 3\]"),
        ("stage1_unit2_bn_beta", (3,), "BatchNorm 'stage1_unit2_bn'.*is this the parameter file of this graph"),
    ],
)  # fmt: skip
def test_array_of_another_network_is_named_with_its_node(name, shape, words):
    params = small_params()
    params.arg[name] = np.zeros(shape, np.float32)
    with pytest.raises(InputError, match=words):
        convert(small_graph(), params)


def deconvolution(**attrs: object):
    net = Builder()
    head = net.call("Deconvolution", "up", net.variable("data"), net.variable("up_weight"), kernel="(4, 4)", **attrs)
    return parse_symbol(json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[head, 0, 0]]}))


def test_grouped_transposed_convolution_has_its_filters_over_the_groups():
    given = Params({"up_weight": np.zeros((4, 2, 4, 4), np.float32)})
    convert(deconvolution(num_filter=8, num_group=4), given)
    with pytest.raises(InputError, match=r"wants \[any, 8, 4, 4\]"):
        convert(deconvolution(num_filter=8), given)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"a": 1}, "nor 11 others that the graph needs; it has a; give the file that belongs"),
        ({}, "it has no arrays"),
        ({"features.0.weight": 1, "features.0.bias": 1}, "it has features.0.bias, features.0.weight; .*save_parameters: use export"),
        ({"arg:fc_weight": 1}, "prefix twice"),
    ],
)  # fmt: skip
def test_file_of_another_network_says_what_it_has(there, words):
    with pytest.raises(InputError, match=words):
        convert(small_graph(), Params({name: np.zeros(1, np.float32) for name in there}))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"date": (1, 4, 6, 5)}, "input 'date': the graph has no such variable; its inputs are data, softmax_label"),
        ({"softmax_label": (1,)}, "input 'data': the graph needs it"),
        ({"data": (1, 3, 6, 5)}, r"node 'stage1_unit1_conv' \(Convolution\) can't take data \[1, 3, 6, 5\], weight \[4, 4, 3, 3\]"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_named(inputs, words):
    module = convert(small_graph(), small_params())
    with pytest.raises(InputError, match=words):
        check_runs(module, {name: np.zeros(shape, np.float32) for name, shape in inputs.items()})


def test_inputs_that_fit_pass_without_the_label():
    check_runs(convert(small_graph(), small_params()), {"data": np.zeros((2, 4, 6, 5), np.float32)})


def test_node_that_holds_a_graph_is_refused_with_what_to_do():
    inner = {"nodes": [{"op": "null", "name": "x", "inputs": []}], "arg_nodes": [0], "heads": [[0, 0, 0]]}
    node = {"op": "_foreach", "name": "loop", "inputs": [[0, 0, 0]], "subgraphs": [inner]}
    text = json.dumps({"nodes": [*inner["nodes"], node], "arg_nodes": [0], "heads": [[1, 0, 0]]})
    with pytest.raises(InputError, match=r"_foreach \(1 nodes, first loop\).*holds a graph of its own.*unrolled"):
        convert(parse_symbol(text), Params())


def row_sparse(rows: int) -> Sparse:
    """[rows, 4] float32, of which the file stores none."""
    return Sparse("row_sparse", np.zeros((0, 4), np.float32), np.zeros(0, np.int64), None, (rows, 4))


def scaled(*names: str):
    net = Builder()
    last = net.variable("data")
    for name in names:
        last = net.call("broadcast_mul", f"times_{name}", last, net.variable(name))
    return parse_symbol(json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[last, 0, 0]]}))


def test_sparse_array_far_larger_than_its_file_is_refused_before_it_fills_the_memory():
    with pytest.raises(
        InputError, match=r"big: .*\[8589934592, 4\], 137438953472 bytes when dense, and stores 0; .*tostype"
    ):
        convert(scaled("big"), Params({"big": row_sparse(1 << 33)}))


def test_sparse_arrays_of_a_graph_share_one_room():
    names = [f"table{number}" for number in range(5)]
    tables = {name: row_sparse(1 << 20) for name in names}  # 16 MiB each, of 64
    assert convert(scaled(*names[:4]), Params(tables)).get_parameter("table3").shape == (1 << 20, 4)
    with pytest.raises(InputError, match="table4: the file has a sparse array"):
        convert(scaled(*names), Params(tables))


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("SliceChannel", {"num_outputs": 10**9}),
        ("SliceChannel", {"num_outputs": -1}),
        ("_split_v2", {"indices": "(0,)", "sections": 10**9}),
        ("amp_multicast", {"num_outputs": 10**9}),
    ],
)
def test_number_of_outputs_that_no_graph_has_is_refused(op, attrs):
    net = Builder()
    head = net.call(op, "parts", net.variable("data"), **attrs)
    graph = parse_symbol(json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[head, 0, 0]]}))
    with pytest.raises(InputError, match=r"'parts': \w+ has -?\d+ outputs by its attributes; expected 1 to 65536"):
        convert(graph, Params())


def test_only_the_outputs_that_are_read_become_nodes():
    net = Builder()
    head = net.call("SliceChannel", "parts", net.variable("data"), num_outputs=1 << 16)
    graph = parse_symbol(json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[head, 3, 0]]}))
    assert len(convert(graph, Params()).graph.nodes) == 4


@pytest.mark.mxnet
@pytest.mark.parametrize(("shape", "attrs"), [((2, 10), {"num_outputs": 3}), ((2, 2), {"num_outputs": 3}),
                                              ((2, 6), {"num_outputs": 3, "squeeze_axis": True})])  # fmt: skip
def test_parts_that_are_not_equal_are_refused_as_by_mxnet(shape, attrs):
    import mxnet as mx

    with pytest.raises(mx.MXNetError):
        mx.nd.SliceChannel(mx.nd.ones(shape), **attrs)
    net = Builder()
    head = net.call("SliceChannel", "parts", net.variable("data"), **attrs)
    graph = parse_symbol(json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[head, 1, 0]]}))
    with pytest.raises(ValueError, match=f"SliceChannel: expected 3 equal parts.* got a length of {shape[1]}"):
        convert(graph, Params())(data=torch.ones(shape))
