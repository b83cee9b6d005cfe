"""Nodes that oneDNN's backend of MXNet made of several: what their inner graph says, as attributes of the one operator."""

import json

from dcn_tasks.errors import InputError
from weights_convert.graph import Node, parse_symbol

# Operator of the inner graph -> its attributes that decide the result at inference.
CONVOLUTION = ("kernel", "num_filter", "stride", "dilate", "pad", "num_group", "no_bias", "layout")
KNOWN = {
    "_sg_mkldnn_conv": {
        "Convolution": CONVOLUTION,
        "BatchNorm": ("eps", "fix_gamma"),
        "elemwise_add": (),
        "Activation": ("act_type",),
    },
    "_sg_mkldnn_fully_connected": {
        "FullyConnected": ("num_hidden", "no_bias", "flatten"),
        "Activation": ("act_type",),
    },
}


def inner_attributes(node: Node) -> dict[str, str]:
    """Attribute texts of the nodes inside a fused one; none for any other.

    Raises: InputError naming the node, for an inner graph of other operators than a translation is there for.
    """
    known = KNOWN.get(node.op)
    if known is None:
        return {}
    where = f"node {node.name!r} ({node.op})"
    if len(node.subgraphs) != 1:
        raise InputError(
            f"{where}: expected one inner graph, got {len(node.subgraphs)}; give the file that MXNet saved"
        )
    found: dict[str, str] = {}
    inner = [each for each in parse_symbol(json.dumps(node.subgraphs[0]), where).nodes if not each.is_variable]
    ops = [each.op for each in inner]
    if len(set(ops)) < len(ops) or not set(ops) <= known.keys():
        raise InputError(f"{where}: fuses {', '.join(ops)}; expected each at most once of {', '.join(known)}")
    for each in inner:
        found |= {key: text for key, text in each.attrs.items() if key in known[each.op]}
    return found
