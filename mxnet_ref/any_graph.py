"""Any symbol.json in MXNet itself: every output of every node, in float32 or float64."""

import json
from collections.abc import Callable, Iterator, Mapping

import mxnet as mx
import numpy as np

from mxnet_ref.notices import without_binding_notices

Key = tuple[str, int, int]  # name of the node, which of the nodes of that name, output


def as_witness(text: str, ranks: Mapping[str, int], dtype: str) -> str:
    """The graph with operators that MXNet's CPU computes wrongly, or in float32 for float64, written with others.

    ROIAlign leaves memory as it finds it for a RoI of image < 0; MXNet's GPU kernel writes 0 there, and GluonCV's FPN adds
    it up. In float64, LeakyReLU casts to float32 inside: max(x, 0) + slope * min(x, 0); SoftmaxActivation is not there:
    softmax; nor is SyncBatchNorm: BatchNorm, which it is on one device.

    Args: ranks: number of axes of each node's output, by name.
    """
    content = json.loads(text)
    nodes: list[dict] = []
    moved: list[int] = []
    for node in content["nodes"]:
        node["inputs"] = [[moved[source], *rest] for source, *rest in node["inputs"]]
        nodes += expanded(node, len(nodes), ranks.get(node["name"], 4), dtype)
        moved.append(len(nodes) - 1)
    content |= {
        "nodes": nodes,
        "arg_nodes": [place for place, node in enumerate(nodes) if node["op"] == "null"],
        "heads": [[moved[source], *rest] for source, *rest in content["heads"]],
    }
    content.pop("node_row_ptr", None)
    return json.dumps(content, ensure_ascii=False)  # MXNet cannot read \u


def expanded(node: dict, place: int, rank: int, dtype: str) -> list[dict]:
    """The nodes that stand for one; the last has its name."""
    attrs = node.get("attrs") or {}
    if node["op"] == "_contrib_ROIAlign":
        return aligned_or_zero(node, place)
    if dtype == "float32":
        return [node]
    if node.get("subgraphs"):
        return unfused(node, place)
    if node["op"] == "SoftmaxActivation":
        return [{**node, "op": "softmax", "attrs": {"axis": "1" if attrs.get("mode") == "channel" else "-1"}}]
    if node["op"] == "_contrib_SyncBatchNorm":
        plain = {key: text for key, text in attrs.items() if key not in ("ndev", "key")}
        return [{**node, "op": "BatchNorm", "attrs": plain}]
    if node["op"] == "LeakyReLU" and attrs.get("act_type", "leaky") in ("leaky", "prelu"):
        return leaky(node, place, rank)
    return [node]


def unfused(node: dict, place: int) -> list[dict]:
    """The inner nodes of one that oneDNN's backend fused (it has float32 alone); the last has its name."""
    inner = node["subgraphs"][0]
    outer = iter(node["inputs"])
    ends: list[list[int]] = []
    found: list[dict] = []
    for each in inner["nodes"]:
        if each["op"] == "null":
            ends.append(next(outer))
            continue
        ends.append([place + len(found), 0, 0])
        inputs = [ends[source] for source, *_ in each["inputs"]]
        found.append({**each, "name": f"{node['name']}_{each['name']}", "inputs": inputs})
    found[-1]["name"] = node["name"]
    return found


def aligned_or_zero(node: dict, place: int) -> list[dict]:
    """ROIAlign, and 0 for RoIs of image < 0."""
    name, rois = node["name"], node["inputs"][1]
    image = {"axis": "1", "begin": "0", "end": "1"}
    return [
        {**node, "name": f"{name}_raw"},
        {"op": "slice_axis", "name": f"{name}_image", "attrs": image, "inputs": [rois]},
        {"op": "Reshape", "name": f"{name}_row", "attrs": {"shape": "(-1,)"}, "inputs": [[place + 1, 0, 0]]},
        {"op": "_greater_equal_scalar", "name": f"{name}_is", "attrs": {"scalar": "0"}, "inputs": [[place + 2, 0, 0]]},
        {"op": "zeros_like", "name": f"{name}_zero", "attrs": {}, "inputs": [[place, 0, 0]]},
        {"op": "where", "name": name, "attrs": {}, "inputs": [[place + each, 0, 0] for each in (3, 0, 4)]},
    ]


def leaky(node: dict, place: int, rank: int) -> list[dict]:
    """LeakyReLU of a stated or a learned slope, from operators that have float64."""
    attrs = node.get("attrs") or {}
    name, data = node["name"], node["inputs"][:1]
    parts = [
        {"op": "_maximum_scalar", "name": f"{name}_above", "attrs": {"scalar": "0"}, "inputs": data},
        {"op": "_minimum_scalar", "name": f"{name}_below", "attrs": {"scalar": "0"}, "inputs": data},
    ]
    if attrs.get("act_type", "leaky") == "leaky":
        slope = {"scalar": repr(float(np.float32(attrs.get("slope", "0.25"))))}
        parts.append({"op": "_mul_scalar", "name": f"{name}_sloped", "attrs": slope, "inputs": [[place + 1, 0, 0]]})
    else:
        shape = {"shape": str((1, -1) + (1,) * (rank - 2))}
        parts.append({"op": "Reshape", "name": f"{name}_slope", "attrs": shape, "inputs": node["inputs"][1:2]})
        factors = [[place + 1, 0, 0], [place + 2, 0, 0]]
        parts.append({"op": "broadcast_mul", "name": f"{name}_sloped", "attrs": {}, "inputs": factors})
    ends = [[place, 0, 0], [place + len(parts) - 1, 0, 0]]
    return [*parts, {"op": "elemwise_add", "name": name, "attrs": {}, "inputs": ends}]


def entries(internals: mx.sym.Symbol) -> Iterator[tuple[Key, bool]]:
    """The key of each output of `get_internals()`, and whether it is a variable."""
    variables = set(internals.list_inputs())
    occurrence: dict[str, int] = {}
    own: set[str] = set()  # outputs of the node that is being listed
    last = None
    for each, listed in zip(internals, internals.list_outputs(), strict=True):
        name = each.name
        if listed in variables:
            yield (name, 0, 0), True
            last = None
            continue
        if name != last or listed in own:  # another node, perhaps of the same name
            occurrence[name] = occurrence.get(name, -1) + 1
            own = set()
        last = name
        yield (name, occurrence[name], len(own)), False
        own.add(listed)


def every_output(
    text: str,
    arg: Mapping[str, np.ndarray],
    aux: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    *,
    dtype: str = "float32",
) -> dict[Key, np.ndarray]:
    """Runs the graph of a symbol.json (its text) and gives every output of every node.

    Args:
        arg, aux, inputs: arrays by name. Arguments without an array (labels) are zeros of the inferred shape.
        dtype: floating-point arrays are cast to it; for float64 give a graph without float32 constants of its own.
    Returns: (name, occurrence of that name, output) -> array.
    Raises: ValueError for float64 of an RNN whose activation MXNet computes in float32 all the same.
    """
    values = {**arg, **inputs}
    symbol = mx.sym.load_json(text)
    if dtype == "float64" and any(each.get("mode") == "rnn_relu" for each in symbol.attr_dict().values()):
        raise ValueError("Error: MXNet's RNN rounds to float32 inside its ReLU")
    symbol = mx.sym.load_json(as_witness(symbol.tojson(), ranks_of(symbol, values), dtype))
    internals = symbol.get_internals()
    keys = list(entries(internals))
    wanted = [place for place, (_, variable) in enumerate(keys) if not variable]
    group = mx.sym.Group([internals[place] for place in wanted])
    inferred, _, _ = group.infer_shape_partial(**shapes_of(group, values))
    arrays = {}
    for name, shape in zip(group.list_arguments(), inferred, strict=True):
        value = values.get(name)
        arrays[name] = mx.nd.zeros(shape, dtype=dtype) if value is None else as_array(value, dtype)
    with without_binding_notices():
        states = {name: as_array(aux.get(name, values.get(name)), dtype) for name in group.list_auxiliary_states()}
        executor = group.bind(mx.cpu(), arrays, grad_req="null", aux_states=states)
        outputs = executor.forward(is_train=False)
        return {keys[place][0]: output.asnumpy() for place, output in zip(wanted, outputs, strict=True)}


def head_outputs(
    text: str, arg: Mapping[str, np.ndarray], aux: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """The graph's own outputs in float32, in its order; arguments as every_output's."""
    found = every_output(text, arg, aux, inputs)
    content = json.loads(text)
    seen: dict[str, int] = {}
    keys = []
    for node in content["nodes"]:
        if node["op"] != "null":
            seen[node["name"]] = seen.get(node["name"], -1) + 1
        keys.append((node["name"], seen.get(node["name"], 0)))
    values = {**arg, **inputs}
    return [
        values[keys[node][0]] if content["nodes"][node]["op"] == "null" else found[(*keys[node], output)]
        for node, output, *_ in content["heads"]
    ]


def shapes_of(symbol: mx.sym.Symbol, values: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: values[name].shape for name in symbol.list_arguments() if name in values}


def ranks_of(symbol: mx.sym.Symbol, values: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Number of axes of each node's first output, by name."""
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape_partial(**shapes_of(internals, values))
    return {each.name: len(shape) for each, shape in zip(internals, shapes, strict=True)}


def as_array(value: np.ndarray, dtype: str) -> mx.nd.NDArray:
    return mx.nd.array(value, dtype=dtype if value.dtype.kind == "f" else value.dtype)


def bound_forward(
    text: str, arg: Mapping[str, np.ndarray], aux: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> Callable[[], list[np.ndarray]]:
    """A call that runs the graph once in float32, as MXNet runs it for inference, and waits for its outputs."""
    symbol = mx.sym.load_json(text)
    values = {**arg, **inputs}
    arrays = {name: as_array(values[name], "float32") for name in symbol.list_arguments()}
    states = {name: as_array(aux[name], "float32") for name in symbol.list_auxiliary_states()}
    with without_binding_notices():
        executor = symbol.bind(mx.cpu(), arrays, grad_req="null", aux_states=states)
    return lambda: [each.asnumpy() for each in executor.forward(is_train=False)]
