"""A graph as text, one node per line, for comparison with the original's."""

import json
import re

import mxnet as mx

# Input names that the line shows; operators not listed take positional inputs.
INPUT_NAMES = {
    "Convolution": ("data", "weight", "bias"),
    "Deconvolution": ("data", "weight", "bias"),
    "FullyConnected": ("data", "weight", "bias"),
    "DeformableConvolution": ("data", "offset", "weight", "bias"),
    "ModulatedDeformableConvolution": ("data", "offset", "mask", "weight", "bias"),
    "slice_axis": ("data",),
    "BatchNorm": ("data", "gamma", "beta", "moving_mean", "moving_var"),
    "Activation": ("data",),
    "Pooling": ("data",),
    "Reshape": ("data",),
    "SoftmaxOutput": ("data", "label"),
    "SoftmaxActivation": ("data",),
    "softmax": ("data",),
    "smooth_l1": ("data",),
    "MakeLoss": ("data",),
    "PSROIPooling": ("data", "rois"),
    "DeformablePSROIPooling": ("data", "rois", "trans"),
    "ROIPooling": ("data", "rois"),
    "Proposal": ("cls_prob", "bbox_pred", "im_info"),
}
STRIDES, LEVELS = (64, 32, 16, 8, 4), (2, 3, 4, 5)
# Nodes whose explicit inputs the original's files name in another order than the operator takes them.
WRITTEN_ORDER = {
    "fc6": ("data", "bias", "weight"),
    "score": ("data", "bias", "weight"),
    "rois": (*(f"rpn_cls_prob_stride{s}" for s in STRIDES), *(f"rpn_bbox_pred_stride{s}" for s in STRIDES), "im_info"),
}
CUSTOM_INPUT_NAMES = {
    "proposal": ("cls_prob", "bbox_pred", "im_info"),
    "proposal_target": ("rois", "gt_boxes"),
    "anchor_candidates": ("cls_prob", "bbox_pred"),
    "pyramid_proposal": (
        *(f"rpn_cls_prob_stride{s}" for s in STRIDES[::-1]),
        *(f"rpn_bbox_pred_stride{s}" for s in STRIDES[::-1]),
        "im_info",
    ),
    "fpn_roi_pooling": (*(f"data_p{k}" for k in LEVELS), "rois"),
    "fpn_roi_pooling deformable": (
        *(f"data_p{k}" for k in LEVELS),
        *(f"offset_{part}_p{k}" for k in LEVELS for part in ("weight", "bias")),
        "rois",
    ),
    "BoxAnnotatorOHEM": ("cls_score", "bbox_pred", "labels", "bbox_targets", "bbox_weights"),
}
OPERATOR_ALIASES = {"elemwise_sub": "_sub", "elemwise_mul": "_mul", "elemwise_add": "_plus", "add_n": "ElementWiseSum"}
AUTOMATIC_NAMES = {"_minus": "sub", "_mul": "mul", "_plus": "add"}
LEFT_OUT = {
    "cfg",  # settings of the original's Python operators, pickled there and JSON here
    "num_args",  # MXNet counts the inputs by itself
}


class NetworkSymbol(mx.sym.Symbol):
    """A graph that remembers the names of its nodes in the order of their making, which MXNet does not keep."""

    __slots__ = ("names_in_order",)


class Names(mx.name.NameManager):
    """Counts automatic names from 0 and writes down every name given."""

    def __init__(self):
        super().__init__()
        self.given: list[str] = []

    def get(self, name, hint):
        self.given.append(super().get(name, hint))
        return self.given[-1]


def trace(symbol: mx.sym.Symbol) -> list[str]:
    """The operators of a graph as `Op | name | inputs | attrs`, in the order of their making where the graph comes from
    `build_symbol`, else in MXNet's topological order.

    Inputs are node names, `name[k]` for output k of a node that has several; parameters that MXNet made by itself are
    not shown. Attributes are sorted by name. Variables have no line.
    """
    nodes = json.loads(symbol.tojson())["nodes"]
    with_several_outputs = {source for node in nodes for source, output, *_ in node["inputs"] if output > 0}
    operators = [node for node in nodes if node["op"] != "null"]
    return [line(node, nodes, with_several_outputs) for node in in_order_of_making(operators, symbol)]


def in_order_of_making(operators: list[dict], symbol: mx.sym.Symbol) -> list[dict]:
    """Nodes sorted as they were made; of several with one name, the first made comes first in both orders."""
    made = getattr(symbol, "names_in_order", ())
    places: dict[str, list[int]] = {}
    for place, name in enumerate(made):
        places.setdefault(name, []).append(place)
    if any(node["name"] not in places for node in operators):
        return operators
    return [
        node
        for _, node in sorted(((places[node["name"]].pop(0), node) for node in operators), key=lambda pair: pair[0])
    ]


def line(node: dict, nodes: list[dict], with_several_outputs: set[int]) -> str:
    attrs = node.get("attrs", {})
    op = operator_name(node["op"])
    kind = attrs.get("op_type", "") + (" deformable" if attrs.get("with_deformable") == "True" else "")
    names = CUSTOM_INPUT_NAMES.get(kind, ()) if op == "Custom" else INPUT_NAMES.get(op, ())
    shown: list[tuple[str | None, str]] = []
    for index, (source, output, *_) in enumerate(node["inputs"]):
        argument = names[index] if index < len(names) else None
        if argument and is_automatic_parameter(nodes[source], node, argument):
            continue
        text = node_name(nodes[source])
        if source in with_several_outputs:
            text += f"[{output}]"
        shown.append((argument, text))
    order = WRITTEN_ORDER.get(node["name"], ())
    if all(argument in order for argument, _ in shown):
        shown.sort(key=lambda pair: order.index(pair[0]))
    inputs = ", ".join(f"{argument}={text}" if argument else text for argument, text in shown)
    listed = sorted((key.strip("_") if key.startswith("__") else key, value) for key, value in attrs.items())
    written = ", ".join(f"{key}={value}" for key, value in listed if key not in LEFT_OUT)
    return f"{op} | {node_name(node)} | {inputs} | {written}".rstrip()


def is_automatic_parameter(variable: dict, node: dict, argument: str) -> bool:
    """Whether MXNet made this variable for the node: it carries the node's name and a copy of its attributes."""
    if variable["op"] != "null" or variable["name"] != f"{node['name']}_{argument}":
        return False
    return variable.get("attrs", {}).items() >= node.get("attrs", {}).items()


def operator_name(op: str) -> str:
    return OPERATOR_ALIASES.get(op, op).removeprefix("_contrib_")


def node_name(node: dict) -> str:
    """The node's name; automatic ones (_minus0) in the spelling of the given lists (sub0)."""
    match = re.fullmatch(r"(_minus|_mul|_plus)(\d+)", node["name"])
    return AUTOMATIC_NAMES[match[1]] + match[2] if match else node["name"]
