"""Several looks at one image, on a network that is a formula: it finds one bright rectangle, wherever and however large."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from dcn_tasks.config import Config, load_config
from dcn_tasks.detections import candidates, detections
from dcn_tasks.errors import InputError
from dcn_tasks.looks import find_objects, looks_at, regressed

SIDES = (60, 40)  # of the image, height and width
OBJECT = (12, 20, 27, 49)  # x1, y1, x2, y2


@dataclass
class Outputs:
    rois: np.ndarray
    cls_prob: np.ndarray
    bbox_pred: np.ndarray


@dataclass
class BrightSpot:
    """Proposes the bounding box of bright pixels, `shift` px too far right; the second stage moves half a width back."""

    shift: float = 0.0
    seen: list[tuple[int, ...]] = field(default_factory=list)
    scored: list[np.ndarray] = field(default_factory=list)
    prob: float = 0.9

    def propose(self, data: np.ndarray, im_info: np.ndarray) -> Outputs:
        self.seen.append(data.shape[2:])
        y, x = np.nonzero(data[0].sum(0) > 0)
        box = [x.min() + self.shift, y.min(), x.max() + self.shift, y.max()]
        return self.outputs(np.array([[0, *box]], np.float32))

    def score(self, rois: np.ndarray) -> Outputs:
        self.scored.append(rois)
        self.prob = 0.6
        return self.outputs(rois)

    def outputs(self, rois: np.ndarray) -> Outputs:
        deltas = np.zeros((1, 8), np.float32)
        if self.shift:
            deltas[0, 4] = -0.5
        return Outputs(rois, np.array([[1 - self.prob, self.prob]], np.float32), deltas)


def picture() -> np.ndarray:
    image = np.zeros((*SIDES, 3), np.uint8)
    x1, y1, x2, y2 = OBJECT
    image[y1 : y2 + 1, x1 : x2 + 1] = 255
    return image


def config(**test) -> Config:
    return load_config(
        "demo/narrow_rfcn",
        **{"SCALES": [40, 60], "network__PIXEL_MEANS": [127.0] * 3, "dataset__NUM_CLASSES": 2, **test},
    )


def test_shipped_defaults_are_one_look_and_one_pass() -> None:
    network, cfg = BrightSpot(), config()
    found, raw = find_objects(network, picture(), cfg, score_thresh=0.1)
    assert network.seen == [(60, 40)] and network.scored == []
    expected = detections(
        raw.rois, raw.cls_prob, raw.bbox_pred, (60, 40, 1), class_agnostic=True, score_thresh=0.1, nms_thresh=0.3,
        max_per_image=cfg.TEST.max_per_image,
    )  # fmt: skip
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.boxes, [OBJECT])


def test_every_scale_sees_the_object_at_its_place_in_the_image() -> None:
    scales = [[40, 60], [80, 120], [120, 150]]  # the last is held back by its limit of the long side: x 2.5
    network = BrightSpot()
    found, _ = find_objects(network, picture(), config(TEST_SCALES=scales, TEST__NMS=1.0), score_thresh=0.1)
    assert network.seen == [(60, 40), (120, 80), (150, 100)]
    assert len(found) == 3
    np.testing.assert_allclose(found.boxes, [OBJECT] * 3, atol=1)  # half a pixel of resizing either way
    united, _ = find_objects(BrightSpot(), picture(), config(TEST_SCALES=scales), score_thresh=0.1)
    assert len(united) == 1


def test_mirrored_look_comes_back_to_the_same_pixels() -> None:
    cfg = config(TEST__FLIP=True, TEST__NMS=1.0)
    first, second = looks_at(picture(), cfg)
    np.testing.assert_array_equal(second.data, first.data[..., ::-1])
    found, _ = find_objects(BrightSpot(), picture(), cfg, score_thresh=0.1)
    np.testing.assert_array_equal(found.boxes, [OBJECT, OBJECT])


def test_box_that_reaches_into_the_padding_ends_at_the_image() -> None:
    cfg = config(TEST__FLIP=True, network__IMAGE_STRIDE=32)
    mirrored = list(looks_at(picture(), cfg))[1]
    assert mirrored.data.shape[2:] == (64, 64)
    np.testing.assert_array_equal(mirrored.to_image([np.array([[30.0, 5, 63, 9, 0.5]])])[0], [[0, 5, 9, 9, 0.5]])


def test_second_pass_scores_the_box_that_the_first_one_regressed() -> None:
    """Eight pixels right and 16 wide: one pass moves the box back to the object, a second one as far beyond."""
    network = BrightSpot(shift=8)
    found, _ = find_objects(network, picture(), config(TEST__BOX_AVERAGE=True, TEST__NMS=1.0), score_thresh=0.1)
    x1, y1, x2, y2 = OBJECT
    np.testing.assert_allclose(network.scored, [[[0, *OBJECT]]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.6], rtol=1e-6)  # each box with the score of its pass
    np.testing.assert_allclose(found.boxes, [OBJECT, (x1 - 8, y1, x2 - 8, y2)], atol=1e-4)  # IoU 1/3: no averaging


def test_averaging_moves_the_kept_box_by_score_and_keeps_its_score() -> None:
    cfg = config(TEST__BOX_AVERAGE=True, TEST__BOX_AVERAGE_THRESH=0.3)
    found, _ = find_objects(BrightSpot(shift=8), picture(), cfg, score_thresh=0.1)
    x1, y1, x2, y2 = OBJECT
    left = 8 * 0.6 / 1.5
    np.testing.assert_allclose(found.boxes, [[x1 - left, y1, x2 - left, y2]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9], rtol=1e-6)


def test_one_pass_of_averaging_asks_for_no_second_stage() -> None:
    network = BrightSpot()
    find_objects(network, picture(), config(TEST__BOX_AVERAGE=True, TEST__BOX_AVERAGE_PASSES=1), score_thresh=0.1)
    assert network.scored == []
    with pytest.raises(InputError, match="BOX_AVERAGE_PASSES"):
        find_objects(network, picture(), config(TEST__BOX_AVERAGE_PASSES=0), score_thresh=0.1)


def test_class_aware_boxes_are_passed_on_from_their_best_object_class() -> None:
    rois = np.array([[0, 10, 10, 19, 19], [0, 30, 30, 39, 39]], np.float32)
    deltas = np.zeros((2, 12))
    deltas[0, 4], deltas[0, 8], deltas[1, 4] = 1.0, -1.0, 0.5
    outputs = Outputs(rois, np.array([[0.1, 0.2, 0.7], [0.9, 0.06, 0.04]]), deltas)
    moved = regressed(outputs, np.array([[100, 100, 1]]), class_agnostic=False)
    np.testing.assert_array_equal(moved, [[0, 0, 10, 9, 19], [0, 35, 30, 44, 39]])
    assert moved.dtype == np.float32


def test_soft_nms_of_the_configuration_is_used() -> None:
    scales = [[40, 60], [80, 120]]
    hard, _ = find_objects(BrightSpot(), picture(), config(TEST_SCALES=scales), score_thresh=0.1)
    soft, _ = find_objects(
        BrightSpot(), picture(), config(TEST_SCALES=scales, TEST__USE_SOFTNMS=True), score_thresh=0.1
    )
    assert len(hard) == 1 and len(soft) == 2
    assert soft.scores[1] == pytest.approx(0.9 * np.exp(-1 / 0.6), rel=0.2)  # IoU nearly 1


def test_candidates_keep_the_order_of_the_rois() -> None:
    rois = np.array([[0, 0, 0, 9, 9], [0, 20, 20, 29, 29]], np.float32)
    found = candidates(rois, np.array([[0.5, 0.2, 0.3], [0.2, 0.7, 0.1]]), np.zeros((2, 8)), (60, 40, 2.0),
                       class_agnostic=True, score_thresh=0.15)  # fmt: skip
    assert [dets[:, 4].tolist() for dets in found] == [[0.2, 0.7], [0.3]]
    np.testing.assert_array_equal(found[0][:, :4], [[0, 0, 4.5, 4.5], [10, 10, 14.5, 14.5]])


@pytest.mark.parametrize("value", [[[480]], [[480, "x"]], "480,800", [[480, 800], 3]])
def test_test_scales_that_are_no_pairs_are_refused(value) -> None:
    with pytest.raises(InputError, match="TEST_SCALES"):
        load_config("demo/narrow_rfcn", TEST_SCALES=value)
