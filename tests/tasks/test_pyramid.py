"""Pyramids: the level of a RoI, the sizes of the levels, proposals and targets over all levels, against plain loops."""

import math

import numpy as np
import pytest

from dcn_tasks.anchors import base_anchors
from dcn_tasks.batch import feature_size, training_batch
from dcn_tasks.boxes import bbox_overlaps, decode_boxes, encode_boxes
from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec
from dcn_tasks.proposals import propose, propose_from_pyramid
from dcn_tasks.pyramid import level_sizes, levels_of
from dcn_tasks.rpn_targets import assign_pyramid_anchors
from dcn_tasks.streams import Draws

STRIDES = (4, 8, 16, 32, 64)
ANCHORS = {"feature_strides": STRIDES, "scales": (8,), "ratios": (0.5, 1, 2)}
LIMITS = {"pre_nms_top_n": 300, "post_nms_top_n": 40, "nms_thresh": 0.7, "min_size": 0}


def square(side: float) -> list[float]:
    return [0, 10, 20, 10 + side - 1, 20 + side - 1]


@pytest.mark.parametrize(
    ("side", "level"), [(1, 0), (55.9, 0), (111.9, 0), (112, 1), (223.9, 1), (224, 2), (447, 2), (448, 3), (5000, 3)]
)
def test_a_roi_of_224_pixels_is_pooled_from_p4_and_every_octave_moves_one_level(side: float, level: int) -> None:
    assert levels_of(np.array([square(side)]), 4, 224).tolist() == [level]


def test_the_level_is_that_of_the_original_formula_in_float32() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 500, (500, 2))
    rois = np.concatenate([np.zeros((500, 1)), corner, corner + rng.uniform(0, 900, (500, 2))], axis=1).astype(
        "float32"
    )
    for roi, level in zip(rois, levels_of(rois, 4, 224), strict=True):
        width, height = roi[3] - roi[1] + np.float32(1), roi[4] - roi[2] + np.float32(1)
        exact = 2 + math.log2(math.sqrt(float(width) * float(height)) / 224)
        assert level == min(max(math.floor(exact), 0), 3) or abs(exact - round(exact)) < 1e-6


def test_a_degenerate_roi_goes_to_the_lowest_level() -> None:
    assert levels_of(np.array([[0, 10, 10, 5, 30], [0, 5, 5, 4, 4]]), 4, 224).tolist() == [0, 0]


@pytest.mark.parametrize("size", [(800, 1280), (480, 800), (128, 160), (224, 96)])
def test_level_sizes_are_those_of_the_layers(size: tuple[int, int]) -> None:
    sizes = level_sizes(*size)
    assert sizes[2] == feature_size(*size)
    assert sizes[:4] == [(size[0] // stride, size[1] // stride) for stride in STRIDES[:4]]  # of multiples of 32
    assert sizes[4] == tuple(-(-side // 2) for side in sizes[3])


def maps(size: tuple[int, int], seed: int = 1) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    sizes = level_sizes(*size)
    return [rng.uniform(size=(3, *each)) for each in sizes], [rng.normal(0, 0.3, (12, *each)) for each in sizes]


def test_proposals_are_those_of_a_plain_loop() -> None:
    size = (128, 160)
    scores, deltas = maps(size)
    boxes = []
    for prob, delta, stride in zip(scores, deltas, STRIDES, strict=True):
        for y in range(min(prob.shape[1], size[0] // stride)):
            for x in range(min(prob.shape[2], size[1] // stride)):
                for a, anchor in enumerate(base_anchors(stride, (0.5, 1, 2), (8,))):
                    shifted = anchor + np.array([x, y, x, y]) * stride
                    box = decode_boxes(shifted[None], delta[4 * a : 4 * a + 4, y, x][None])[0]
                    limits = np.array([159, 127, 159, 127])
                    boxes.append((prob[a, y, x], *np.clip(box, 0, limits)))
    boxes.sort(key=lambda box: -box[0])
    kept: list[tuple] = []
    for box in boxes[:300]:
        others = np.array([each[1:] for each in kept])
        if not kept or bbox_overlaps(np.array([box[1:]]), others).max() <= 0.7:
            kept.append(box)
    found = propose_from_pyramid(scores, deltas, (*size, 1.0), draws=Draws(0), **ANCHORS, **LIMITS)
    assert found.num_valid == min(40, len(kept))
    np.testing.assert_allclose(found.rois[: found.num_valid, 1:], np.array(kept)[:40, 1:], rtol=1e-6, atol=1e-4)


def test_one_level_alone_is_the_single_level_operator() -> None:
    rng = np.random.default_rng(2)
    scores, deltas = rng.uniform(size=(3, 8, 10)), rng.normal(0, 0.3, (12, 8, 10))
    shared = {"scales": (8,), "ratios": (0.5, 1, 2), "draws": Draws(3), **LIMITS}
    one = propose(scores, deltas, (128, 160, 1), feature_stride=16, **shared)
    pyramid = propose_from_pyramid([scores], [deltas], (128, 160, 1), feature_strides=(16,), **shared)
    np.testing.assert_array_equal(one.rois, pyramid.rois)


def test_of_equal_scores_the_finer_level_comes_first() -> None:
    scores, deltas = maps((128, 160))
    equal = [np.full_like(each, 0.5) for each in scores]
    still = [np.zeros_like(each) for each in deltas]
    found = propose_from_pyramid(equal, still, (128, 160, 1.0), draws=Draws(0), **ANCHORS, **LIMITS)
    assert (found.rois[0, 1:] == np.clip(base_anchors(4, (0.5, 1, 2), (8,))[0], 0, None)).all()


def test_targets_are_those_of_a_plain_loop_over_all_levels() -> None:
    size = (96, 128)
    sizes = level_sizes(*size)
    gt = np.array([[10, 12, 70, 60, 1], [60, 40, 120, 90, 2]], float)
    settings = {
        "draws": Draws(0),
        "batch_size": 10**6,  # nothing is left out
        "fg_fraction": 0.5,
        "positive_overlap": 0.6,
        "negative_overlap": 0.3,
        "clobber_positives": False,
        "bbox_weights": (1, 1, 1, 1),
    }
    found = assign_pyramid_anchors(sizes, gt, (*size, 1.0), **ANCHORS, **settings)
    rows = []  # level, anchor, y, x -> box
    for stride, (height, width) in zip(STRIDES, sizes, strict=True):
        base = base_anchors(stride, (0.5, 1, 2), (8,))
        rows += [
            (base[a] + np.array([x, y, x, y]) * stride) for a in range(3) for y in range(height) for x in range(width)
        ]
    anchors = np.array(rows)
    overlaps = bbox_overlaps(anchors, gt[:, :4])
    best = overlaps.max(axis=1)
    label = np.where(best < 0.3, 0.0, -1.0)
    label[(overlaps == overlaps.max(axis=0)).any(axis=1) | (best >= 0.6)] = 1
    np.testing.assert_array_equal(found["label"][0], label)
    assert (label == 1).sum() > 2
    target = encode_boxes(anchors, gt[overlaps.argmax(axis=1), :4])
    start = column = 0
    for height, width in sizes:
        cells, count = height * width, 3 * height * width
        own = target[start : start + count].reshape(3, cells, 4).transpose(0, 2, 1).reshape(12, cells)
        np.testing.assert_allclose(found["bbox_target"][0, :, column : column + cells], own, rtol=1e-6, atol=1e-6)
        own = np.repeat(label[start : start + count].reshape(3, cells) == 1, 4, axis=0)
        np.testing.assert_array_equal(found["bbox_weight"][0, :, column : column + cells], own)
        start, column = start + count, column + cells


def test_anchors_that_leave_the_image_are_used() -> None:
    gt = np.array([[0, 0, 95, 95, 1]], float)
    cfg = load_config("demo/narrow_fpn", SCALES=[96, 96])
    batch = training_batch(np.zeros((96, 96, 3), np.uint8), gt, cfg, Draws(0))
    sizes = level_sizes(96, 96)
    assert batch["label"].shape == (1, 3 * sum(h * w for h, w in sizes))
    assert batch["bbox_target"].shape == (1, 12, sum(h * w for h, w in sizes))
    assert (batch["label"] == 1).any()  # 128 px anchors of P4 are the nearest, and none of them fits into 96 px


def test_the_deformable_network_moves_the_last_unit_of_two_stages_and_all_of_res5() -> None:
    spec = NetworkSpec.from_config(load_config("fpn/resnet_v1_101_coco_trainval_fpn_dcn_end2end_ohem"))
    assert spec.deform_conv_units == ("res3b3", "res4b22", "res5a", "res5b", "res5c")
    assert (spec.deform_roi_pooling, spec.num_deformable_group, spec.res5_dilation) == (True, 4, 1)


@pytest.mark.parametrize(
    ("name", "strides", "message"),
    [
        ("demo/narrow_fpn", [4, 8, 16], "one per level, 5, got"),
        ("demo/narrow_rfcn", [4, 8, 16, 32, 64], "expected one"),
    ],
)
def test_strides_that_do_not_fit_the_network_are_refused(name: str, strides: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NetworkSpec.from_config(load_config(name, network__RPN_FEAT_STRIDE=strides))
