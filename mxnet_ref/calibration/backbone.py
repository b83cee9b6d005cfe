"""Backbones: offsets of a pixel or two, normalisations with the statistics of their own input."""

import json

import numpy as np

from dcn_tasks.initial import normal
from dcn_tasks.streams import Draws
from mxnet_ref.calibration.graph import Graph
from mxnet_ref.executor import Arrays

OFFSET_STD_PX = 1.5  # offsets of deformable convolutions, feature pixels
BRANCH_SCALE = (0.05, 0.15)  # of a residual branch beside its shortcut: larger ones amplify rounding from unit to unit


def randomise(arg: Arrays, seed: int) -> None:
    """Scales and shifts away from ones and zeros, offset weights away from zeros, in place."""
    for name, value in arg.items():
        if name.endswith("_gamma"):
            low, high = BRANCH_SCALE if name.endswith(("branch2c_gamma", "merge_gamma")) else (0.7, 1.3)
            value[:] = Draws(seed).generator(f"calibrate/{name}").uniform(low, high, value.shape)
        elif name.endswith("_beta"):
            value[:] = 0.1 * normal(name, value.shape, seed)
        elif name.endswith("_weight") and not value.any():
            value[:] = 0.01 * normal(name, value.shape, seed)


def calibrate_backbone(graph: Graph) -> None:
    """Offsets to their std and normalisations to the statistics of their input, in place.

    Args: graph: with network.USE_GLOBAL_STATS off: with batch statistics every layer sees normalised input already, so that
        one pass gives the statistics of all.
    """
    nodes = json.loads(graph.symbol.tojson())["nodes"]
    norms = {node["name"]: nodes[node["inputs"][0][0]]["name"] for node in nodes if node["op"] == "BatchNorm"}
    offsets = [f"{name}_offset" for name in graph.spec.deformable_convolutions]
    found, rest = {}, graph
    if early := graph.up_to_waist(offsets[0], [*norms.values(), *offsets]) if offsets else []:  # computed once
        *_, waist = early
        found = graph.read([waist, *(name for name in norms.values() if name in early)], is_train=True)
        rest = graph.given({waist: found[waist]})
    for name in offsets:  # one by one: the offsets of one move the input of the next
        rest.scale({name: OFFSET_STD_PX}, is_train=True)
    found |= rest.read([name for name in norms.values() if name not in found], is_train=True)
    for norm, source in norms.items():
        value = found[source].astype(np.float64)
        graph.aux[f"{norm}_moving_mean"][:] = value.mean(axis=(0, 2, 3))
        graph.aux[f"{norm}_moving_var"][:] = (
            value.var(axis=(0, 2, 3)) + 1e-3
        )  # a channel that is dead here stays bounded
