"""Calibration's search for a factor at which rounding decides no detection."""

import itertools
from types import ModuleType

import numpy as np
import pytest
from tiny_network import photo, tiny

from dcn_tasks.images import to_network_input

pytestmark = pytest.mark.mxnet


@pytest.fixture(scope="module")
def graph():
    from mxnet_ref import calibrated_init
    from mxnet_ref.calibration.graph import graph_of

    cfg = tiny()
    arg, aux = calibrated_init(cfg, photo())
    data, im_info = to_network_input(photo(), cfg)
    return graph_of(cfg, arg, aux, {"data": data, "im_info": im_info}).behind_backbone()


@pytest.fixture
def settling() -> ModuleType:
    from mxnet_ref.calibration import detections

    return detections


@pytest.mark.parametrize("ties, winner, tries", [([3, 1, 2, 0, 0], 3, 4), ([4, 2, 3, 2], 1, 34)])
def test_the_factor_with_the_fewest_changes_wins(graph, settling, monkeypatch, ties, winner, tries):
    """A search that stops too early, keeps the last factor or one that is only as good fails here.

    Where every factor changes something, all are tried again: the first round counts no further than to one.
    """
    counts, asked = itertools.cycle([*ties, *[9] * (len(settling.FACTORS) - len(ties))]), []
    monkeypatch.setattr(settling, "tied_proposals", lambda *args: asked.append(next(counts)) or asked[-1])
    monkeypatch.setattr(settling, "DRAWS", 0)
    monkeypatch.setattr(graph, "arg", {name: value.copy() for name, value in graph.arg.items()})
    before = graph.arg["rpn_bbox_pred_weight"].copy()
    settling.settle_detections(graph)
    factor = np.float32(settling.FACTORS[winner])
    np.testing.assert_array_equal(graph.arg["rpn_bbox_pred_weight"], factor * before)
    assert len(asked) == tries


def test_an_attempt_ends_where_another_is_as_good(graph, settling, monkeypatch):
    maps = graph.read(settling.maps_before_decisions(graph))
    monkeypatch.setattr(settling, "unlike", lambda one, other: 2)
    whole = settling.attempt(graph, maps, 1.0, fewer_than=np.inf)
    assert whole.changed == 2 * settling.DRAWS
    assert settling.attempt(graph, maps, 1.0, fewer_than=whole.changed) is None
    assert settling.attempt(graph, maps, 1.0, fewer_than=whole.changed + 1).changed == whole.changed


@pytest.mark.parametrize("ties", [[0], [2, 1, 0]])
def test_weights_are_moved_until_no_proposals_tie(graph, monkeypatch, ties):
    from mxnet_ref.calibration import proposals

    counts = iter(ties)
    monkeypatch.setattr(proposals, "tied_proposals", lambda *args: next(counts))
    monkeypatch.setattr(graph, "arg", {name: value.copy() for name, value in graph.arg.items()})
    before = graph.arg["rpn_cls_score_weight"].copy()
    proposals.untie(graph, ["rpn_cls_score", "rpn_bbox_pred"])
    assert list(counts) == []
    moved = graph.arg["rpn_cls_score_weight"] / before - 1
    assert np.abs(moved).max() < 0.02 and (moved.std() > 5e-4) == (len(ties) > 1)
