"""Calibration of a backbone: what no offset moves is computed once, with the same result."""

import numpy as np
import pytest
from tiny_network import photo, tiny

from dcn_tasks.images import to_network_input

pytestmark = pytest.mark.mxnet


def backbone(name: str, **overrides):
    """A graph with batch statistics, before calibration."""
    from mxnet_ref.calibration.backbone import randomise
    from mxnet_ref.calibration.graph import graph_of
    from mxnet_ref.init import init_params

    cfg = tiny(name, **overrides)
    arg, aux = init_params(cfg, seed=0, pretrained=False)
    randomise(arg, 0)
    data, im_info = to_network_input(photo(), cfg)
    return graph_of(cfg, arg, aux, {"data": data, "im_info": im_info}, network__USE_GLOBAL_STATS=False)


CASES = {
    "two units of res5": ("demo/narrow_rfcn_dcn", {"network__UNITS": [1, 1, 3, 2]}, "res4c_relu"),
    "one unit, whose sum nobody normalises": ("demo/narrow_rfcn_dcn", {}, "res5a_branch2a_relu"),
    "layers of res4 and res5": (
        "demo/narrow_rfcn_dcn",
        {"network__UNITS": [1, 1, 3, 1], "network__DEFORM_CONV_UNITS": ["res4c", "res5a"]},
        "res4b_relu",
    ),
    "a pyramid, whose maps are read again": ("demo/narrow_fpn_dcn", {}, "res2a_relu"),
}


@pytest.mark.parametrize("name, overrides, waist", CASES.values(), ids=CASES)
def test_one_pass_up_to_the_waist_gives_what_whole_passes_give(monkeypatch, name, overrides, waist):
    from mxnet_ref.calibration.backbone import calibrate_backbone
    from mxnet_ref.calibration.graph import Graph

    read = []
    graph, whole = backbone(name, **overrides), backbone(name, **overrides)
    given = Graph.given
    monkeypatch.setattr(Graph, "given", lambda self, maps: read.append(list(maps)) or given(self, maps))
    calibrate_backbone(graph)
    assert read == [[waist]]
    monkeypatch.setattr(Graph, "up_to_waist", lambda *args: [])
    calibrate_backbone(whole)
    assert len(read) == 1
    for ours, theirs in ((graph.arg, whole.arg), (graph.aux, whole.aux)):
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


def test_a_waist_is_no_node_past_which_another_is_read():
    import mxnet as mx

    from mxnet_ref.calibration.graph import Graph

    data = mx.sym.Variable("data")
    first = mx.sym.Activation(data, act_type="relu", name="first")
    second = mx.sym.Activation(first, act_type="relu", name="second")
    third = mx.sym.broadcast_add(first, second, name="third")
    fourth = mx.sym.Activation(third, act_type="relu", name="fourth")
    graph = Graph(tiny(), fourth, {}, {}, {})
    assert graph.up_to_waist("fourth", ["fourth"]) == ["first", "second", "third"]
    assert graph.up_to_waist("third", ["fourth"]) == ["first"]
    assert graph.up_to_waist("first", ["fourth"]) == []
