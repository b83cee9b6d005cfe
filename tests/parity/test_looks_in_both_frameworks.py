"""MXNet and PyTorch find the same objects in every way of looking that the configuration offers, converted weights, each
deciding alone; in float64, where no rounding decides between two boxes."""

from functools import cache

import numpy as np
import pytest
import torch
from tolerances import LOOKS_FLOAT64_PX

from dcn_tasks.config import Config, load_config
from dcn_tasks.detections import Detections
from dcn_tasks.scenes import scene_source

pytestmark = pytest.mark.mxnet

RFCN = "demo/narrow_rfcn_dcn"
# class-agnostic boxes, boxes of every class, a pyramid, another backbone, DCNv2; plain and deformable
TWO_STAGE = [
    RFCN,
    "demo/narrow_rfcn",
    "demo/narrow_rcnn_dcn",
    "demo/narrow_rcnn",
    "demo/narrow_fpn_dcn",
    "demo/narrow_fpn",
]
TWO_STAGE += ["demo/narrow_aligned_rfcn_dcn", "demo/narrow_rcnn_dcnv2"]
SEEDS = {"demo/narrow_fpn": 1}  # with 0, two of its proposals have one score, and their order is luck
ONE_STAGE = ["demo/narrow_class_aware_rpn", "demo/narrow_class_aware_rpn_dcn"]
SMALL = {"SCALES": [96, 128], "TEST__RPN_POST_NMS_TOP_N": 24, "network__UNITS": [1, 1, 1, 1]}
LOOKS = {
    "one look": {},
    "M": {"TEST_SCALES": [[96, 128], [112, 160], [80, 128]]},
    "B": {"TEST__BOX_AVERAGE": True},
    "flip": {"TEST__FLIP": True},
    "Soft-NMS": {"TEST__USE_SOFTNMS": True},
    "linear Soft-NMS": {"TEST__USE_SOFTNMS": True, "TEST__SOFTNMS_METHOD": "linear", "TEST__SOFTNMS_THRESH": 0.3},
    "M, B, flip and Soft-NMS": {
        "TEST_SCALES": [[96, 128], [112, 160]],
        "TEST__BOX_AVERAGE": True,
        "TEST__FLIP": True,
        "TEST__USE_SOFTNMS": True,
    },
}


def picture() -> np.ndarray:
    return scene_source(load_config(RFCN), "held_out", seed=3)[0].image


@cache
def weights(network: str = RFCN) -> tuple[dict, dict]:
    """A calibrated checkpoint's arrays, `_test` copies in place."""
    from mxnet_ref import calibrated_init, detection_weights, with_test_copies

    cfg = load_config(network, **SMALL)
    arg, aux = calibrated_init(cfg, picture(), seed=SEEDS.get(network, 0))
    return detection_weights(with_test_copies(arg, cfg)), aux


@cache
def in_mxnet(look: str, network: str = RFCN) -> Detections:
    from mxnet_ref import Detector

    return Detector(config(look, network), *weights(network), dtype="float64")(picture(), score_thresh=0.05)[0]


def in_torch(look: str, name: str) -> Detections:
    from torch_port.models import Detector, build_network
    from weights_convert import Params, to_torch

    cfg = config(look, name)
    network = build_network(cfg).double()
    network.load_state_dict(to_torch(Params(*weights(name)), cfg))
    return Detector(network, cfg)(picture(), score_thresh=0.05)[0]


def config(look: str, network: str = RFCN) -> Config:
    """A network without a second stage averages, and scores once."""
    once = {"TEST__BOX_AVERAGE_PASSES": 1} if network in ONE_STAGE else {}
    return load_config(network, **SMALL, **LOOKS[look], **once)


EVERYTHING = "M, B, flip and Soft-NMS"
CASES = [(look, RFCN) for look in LOOKS]
CASES += [(look, network) for network in TWO_STAGE[1:] + ONE_STAGE for look in ("one look", "B", EVERYTHING)]


@pytest.mark.parametrize(("look", "network"), CASES)
def test_both_frameworks_find_the_same_boxes(look: str, network: str) -> None:
    theirs, ours = in_mxnet(look, network), in_torch(look, network)
    assert len(theirs) >= 5
    np.testing.assert_array_equal(ours.classes, theirs.classes)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=LOOKS_FLOAT64_PX)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=LOOKS_FLOAT64_PX)


@pytest.mark.parametrize("look", [look for look in LOOKS if look != "one look"])
def test_every_way_of_looking_changes_what_is_found(look: str) -> None:
    plain, found = in_mxnet("one look"), in_mxnet(look)
    assert (
        len(plain) != len(found)
        or np.abs(plain.boxes - found.boxes).max() > 0.1
        or (plain.scores != found.scores).any()
    )


def test_scoring_the_proposals_again_gives_their_scores_again() -> None:
    """The cut graph of MXNet, and the maps that PyTorch keeps, are those of the whole network."""
    from mxnet_ref import Detector as Reference
    from torch_port.models import Detector, build_network
    from weights_convert import Params, to_torch

    cfg = config("B")
    network = build_network(cfg)
    network.load_state_dict(to_torch(Params(*weights()), cfg))
    for detector in (Reference(cfg, *weights()), Detector(network, cfg)):
        first = detector.outputs(picture())
        again = detector.score(first.rois)
        np.testing.assert_array_equal(again.cls_prob, first.cls_prob)
        np.testing.assert_array_equal(again.bbox_pred, first.bbox_pred)
        fewer = detector.score(first.rois[:3])
        np.testing.assert_allclose(fewer.cls_prob, first.cls_prob[:3], rtol=1e-5)


def test_network_without_a_second_stage_says_so() -> None:
    import mxnet as mx

    from dcn_tasks.errors import InputError
    from mxnet_ref.second_stage import second_stage
    from torch_port.models import Detector

    data = mx.sym.Variable("data")
    with pytest.raises(InputError, match="BOX_AVERAGE_PASSES"):
        second_stage(mx.sym.Group([mx.sym.relu(data, name="rois"), mx.sym.tanh(data), mx.sym.exp(data)]))
    with pytest.raises(InputError, match="Identity has no second stage"):
        Detector(torch.nn.Identity(), config("B"))  # type: ignore[arg-type]
