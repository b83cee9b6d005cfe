"""The part of a test graph behind its RoIs, as a graph of its own: scores boxes that somebody else chose."""

import json
from typing import NamedTuple

import mxnet as mx

from dcn_tasks.errors import InputError

ROIS = "rois"  # the name of the original's proposal node, in all of its detection networks


class SecondStage(NamedTuple):
    """symbol: inputs `rois` [R, 5], `maps` and the parameters behind them; outputs cls_prob and bbox_pred as the whole graph's
    last two. maps: names of the nodes before the RoIs whose outputs it reads, for outputs_of or a Group.
    """

    symbol: mx.sym.Symbol
    maps: tuple[str, ...]


def second_stage(symbol: mx.sym.Symbol) -> SecondStage:
    """Cut a detection graph at its RoIs.

    Args: symbol: a test graph whose last three outputs are rois, class probabilities and box deltas.
    Raises: InputError for a graph without a node named rois, or whose scores don't depend on it.
    """
    graph = json.loads(symbol.tojson())
    nodes = graph["nodes"]
    cut = next((index for index, node in enumerate(nodes) if node["name"] == ROIS), None)
    behind: set[int] = set() if cut is None else {cut}
    for index, node in enumerate(nodes):  # in topological order
        if any(source in behind for source, *_ in node["inputs"]):
            behind.add(index)
    heads = graph["heads"][-2:]
    if not all(head[0] in behind for head in heads):
        raise InputError(
            "second_stage: scores of this network come with its boxes, there is nothing behind RoIs to run again: set "
            "TEST.BOX_AVERAGE_PASSES to 1 for averaging alone"
        )
    maps = sorted(
        {
            source
            for index in behind - {cut}
            for source, *_ in nodes[index]["inputs"]
            if source not in behind and nodes[source]["op"] != "null"
        }
    )
    for index in (cut, *maps):
        nodes[index] = {"op": "null", "name": nodes[index]["name"], "inputs": []}
    graph["heads"] = heads
    graph["arg_nodes"] = [index for index, node in enumerate(nodes) if node["op"] == "null"]
    return SecondStage(mx.sym.load_json(json.dumps(graph)), tuple(nodes[index]["name"] for index in maps))
