"""Labels and box targets of anchors and RoIs, against plain loops over the written rules."""

import numpy as np
import pytest

from dcn_tasks.anchors import base_anchors, grid_anchors
from dcn_tasks.boxes import bbox_overlaps, encode_boxes
from dcn_tasks.roi_targets import RoiSamples, sample_rois
from dcn_tasks.rpn_targets import assign_anchors
from dcn_tasks.streams import Draws

ANCHORS = {"feature_stride": 16, "scales": (2, 4), "ratios": (0.5, 1, 2)}
INFO = np.array([96.0, 128.0, 1.0])
GT = np.array([[10, 12, 60, 50, 3], [70, 30, 120, 90, 1]], np.float32)
MANY = 10_000


def anchors_of(gt: np.ndarray = GT, **changes) -> dict[str, np.ndarray]:
    return assign_anchors(6, 8, gt, INFO, **{**ANCHORS, "draws": Draws(0), "batch_size": MANY, **changes})


def per_anchor(targets: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """label [N], target [N, 4], weight [N, 4] in order (y, x, anchor)."""
    label = targets["label"].reshape(6, 6, 8).transpose(1, 2, 0).ravel()
    return label, *(
        targets[name][0].reshape(6, 4, 6, 8).transpose(2, 3, 0, 1).reshape(-1, 4)
        for name in ("bbox_target", "bbox_weight")
    )


def label_by_rule(anchor: np.ndarray, best_of_each_object: np.ndarray, positive_overlap: float) -> float:
    if anchor[0] < 0 or anchor[1] < 0 or anchor[2] >= 128 or anchor[3] >= 96:
        return -1
    overlaps = bbox_overlaps(anchor[None], GT[:, :4])[0]
    if (overlaps == best_of_each_object).any() or overlaps.max() >= positive_overlap:
        return 1
    return 0 if overlaps.max() < 0.3 else -1


@pytest.mark.parametrize(("positive_overlap", "positives"), [(0.7, 2), (0.4, 10)])
def test_anchor_labels_and_targets_follow_the_rules(positive_overlap: float, positives: int) -> None:
    anchors = grid_anchors(base_anchors(16, ANCHORS["ratios"], ANCHORS["scales"]), 6, 8, 16)
    inside = [a for a in anchors if a[0] >= 0 and a[1] >= 0 and a[2] < 128 and a[3] < 96]
    best = bbox_overlaps(np.array(inside), GT[:, :4]).max(axis=0)
    label, target, weight = per_anchor(anchors_of(positive_overlap=positive_overlap))
    np.testing.assert_array_equal(label, [label_by_rule(anchor, best, positive_overlap) for anchor in anchors])
    assert set(label) == {-1, 0, 1} and (label == 1).sum() >= positives
    for index in np.flatnonzero(label == 1):
        nearest = bbox_overlaps(anchors[index : index + 1], GT[:, :4])[0].argmax()
        expected = encode_boxes(anchors[index : index + 1], GT[nearest : nearest + 1, :4])[0]
        np.testing.assert_allclose(target[index], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(weight, np.repeat((label == 1)[:, None], 4, axis=1))


def test_outputs_have_the_shapes_of_the_training_graph() -> None:
    targets = anchors_of()
    assert {name: value.shape for name, value in targets.items()} == {
        "label": (1, 6 * 6 * 8),
        "bbox_target": (1, 24, 6, 8),
        "bbox_weight": (1, 24, 6, 8),
    }
    assert all(value.dtype == np.float32 for value in targets.values())


def test_anchors_beyond_the_batch_are_ignored_and_the_draw_is_keyed() -> None:
    everything = anchors_of()["label"]
    batch = anchors_of(batch_size=8, fg_fraction=0.125)["label"]
    assert (everything == 1).sum() > 1 and (batch == 1).sum() == 1 and (batch == 0).sum() == 7
    assert (everything[batch != -1] == batch[batch != -1]).all()
    np.testing.assert_array_equal(batch, anchors_of(batch_size=8, fg_fraction=0.125)["label"])
    other = anchors_of(batch_size=8, fg_fraction=0.125, draws=Draws(0, step=1))["label"]
    assert (other != batch).any()


def test_background_fills_the_places_that_foreground_leaves() -> None:
    label = anchors_of(batch_size=32)["label"]
    assert 0 < (label == 1).sum() < 16
    assert (label != -1).sum() == 32


def test_background_wins_over_best_anchors_only_when_told_to() -> None:
    small = np.array([[40, 40, 43, 43, 1]], np.float32)  # no anchor overlaps it by 0.3
    assert (anchors_of(small)["label"] == 1).sum() > 0
    assert (anchors_of(small, clobber_positives=True)["label"] == 1).sum() == 0


def test_image_without_objects_is_background_only() -> None:
    targets = anchors_of(np.zeros((0, 5), np.float32), batch_size=32)
    assert (targets["label"] == 0).sum() == 32 and (targets["label"] == 1).sum() == 0
    assert not targets["bbox_target"].any() and not targets["bbox_weight"].any()


def test_image_smaller_than_every_anchor_labels_none() -> None:
    targets = anchors_of(scales=(8,), ratios=(1,))  # 128 x 128 and more in an image of 96 x 128
    assert targets["label"].shape == (1, 48) and (targets["label"] == -1).all()
    assert (targets["bbox_target"] == 0).all() and (targets["bbox_weight"] == 0).all()


def test_wide_border_uses_anchors_that_leave_the_image() -> None:
    strict, loose = anchors_of()["label"], anchors_of(allowed_border=np.inf)["label"]
    assert (loose != -1).sum() > (strict != -1).sum()


# RoIs --------------------------------------------------------------------------------------------------------------


def rois(count: int = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    near = GT[rng.integers(0, 2, count), :4] + rng.normal(0, 12, (count, 4))
    boxes = np.concatenate([np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])], axis=1)
    return np.concatenate([np.zeros((count, 1)), boxes], axis=1).astype(np.float32)


def samples_of(gt: np.ndarray = GT, count: int = 40, **changes) -> RoiSamples:
    settings = {
        "batch_rois": -1,
        "fg_fraction": 0.25,
        "fg_thresh": 0.5,
        "bg_thresh_hi": 0.5,
        "bg_thresh_lo": 0.0,
        "num_reg_classes": 2,
        "class_agnostic": True,
        "bbox_means": (0.0, 0.0, 0.0, 0.0),
        "bbox_stds": (0.1, 0.1, 0.2, 0.2),
        "bbox_weights": (1.0, 1.0, 1.0, 1.0),
        "draws": Draws(0),
    }
    return sample_rois(rois(count), gt, **{**settings, **changes})


def test_all_rois_and_objects_come_back_foreground_first() -> None:
    found = samples_of()
    assert len(found.rois) == 42
    best = bbox_overlaps(found.rois[:, 1:], GT[:, :4])
    foreground = int((best.max(axis=1) >= 0.5).sum())
    assert 5 < foreground < 40
    expected = np.where(np.arange(42) < foreground, GT[best.argmax(axis=1), 4], 0)
    np.testing.assert_array_equal(found.labels, expected)
    everything = np.concatenate([rois(), np.concatenate([np.zeros((2, 1)), GT[:, :4]], axis=1)])
    np.testing.assert_array_equal(np.unique(found.rois, axis=0), np.unique(everything.astype(np.float32), axis=0))


def test_targets_are_normalised_and_stand_in_the_slot_of_the_class() -> None:
    agnostic = samples_of()
    per_class = samples_of(class_agnostic=False, num_reg_classes=5)
    foreground = np.flatnonzero(agnostic.labels > 0)
    for index in foreground:
        gt = GT[GT[:, 4] == agnostic.labels[index], :4]
        expected = encode_boxes(agnostic.rois[index : index + 1, 1:], gt)[0] / (0.1, 0.1, 0.2, 0.2)
        np.testing.assert_allclose(agnostic.bbox_targets[index, 4:], expected, rtol=1e-5, atol=1e-5)
        slot = 4 * int(agnostic.labels[index])
        np.testing.assert_array_equal(per_class.bbox_targets[index, slot : slot + 4], agnostic.bbox_targets[index, 4:])
        assert per_class.bbox_weights[index].sum() == per_class.bbox_weights[index, slot : slot + 4].sum() == 4
    assert not agnostic.bbox_targets[:, :4].any() and not agnostic.bbox_weights[:, :4].any()
    assert not agnostic.bbox_targets[agnostic.labels == 0].any()


def test_means_are_subtracted_before_the_division() -> None:
    plain, shifted = samples_of(), samples_of(bbox_means=(0.1, 0.2, 0.3, 0.4))
    difference = plain.bbox_targets[0, 4:] - shifted.bbox_targets[0, 4:]
    np.testing.assert_allclose(difference, [1.0, 2.0, 1.5, 2.0], rtol=1e-5)


def test_batch_has_its_share_of_foreground_and_its_size() -> None:
    found = samples_of(batch_rois=16)
    assert len(found.rois) == 16 and (found.labels > 0).sum() == 4


def test_background_below_the_lower_threshold_is_replaced_by_padding_of_label_zero() -> None:
    found = samples_of(batch_rois=64, fg_fraction=0.01, bg_thresh_lo=0.45)
    assert len(found.rois) == 64 and (found.labels > 0).sum() == 1
    overlaps = bbox_overlaps(found.rois[:, 1:], GT[:, :4]).max(axis=1)
    assert (overlaps[found.labels == 0] >= 0.5).any()  # padding is drawn from all, as in the original
    assert len(samples_of(bg_thresh_lo=0.45).rois) == 42


def test_padding_of_modern_mode_is_no_object() -> None:
    found = samples_of(batch_rois=64, fg_fraction=0.01, bg_thresh_lo=0.45, padding_from_all=False)
    overlaps = bbox_overlaps(found.rois[:, 1:], GT[:, :4])
    assert len(found.rois) == 64
    np.testing.assert_array_equal(found.labels > 0, overlaps.max(axis=1) >= 0.5)


def test_where_all_are_objects_padding_keeps_their_labels_in_modern_mode() -> None:
    changes = {"fg_thresh": 0.0, "bg_thresh_hi": 0.0, "batch_rois": 64, "fg_fraction": 0.25}
    assert (samples_of(**changes).labels > 0).sum() == 16
    modern = samples_of(**changes, padding_from_all=False)
    overlaps = bbox_overlaps(modern.rois[:, 1:], GT[:, :4])
    np.testing.assert_array_equal(modern.labels, GT[overlaps.argmax(axis=1), 4])


def test_no_objects_means_background_only() -> None:
    found = samples_of(np.zeros((0, 5), np.float32))
    assert len(found.rois) == 40 and not found.labels.any() and not found.bbox_weights.any()


def test_neither_rois_nor_objects_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one RoI"):
        samples_of(np.zeros((0, 5), np.float32), count=0)
