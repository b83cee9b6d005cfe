"""Label maps: cropped with their image, counted by a plain loop, refused where they don't fit."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.images import to_network_input
from dcn_tasks.scenes import SceneSource
from dcn_tasks.segmentation import (
    confusion,
    crop_window,
    image_labels,
    intersection_over_union,
    label_map,
    segmentation_batch,
    segmentation_metrics,
)
from dcn_tasks.streams import Draws
from dcn_tasks.task import DETECTION, SEGMENTATION, task_of

CONFIG = "demo/narrow_deeplab"


def numbered(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose red channel holds its label map, so that what happens to one can be read off the other."""
    labels = np.random.default_rng(1).integers(0, 5, (height, width)).astype(np.uint8)
    return np.dstack([labels, labels, labels]), labels


def test_label_and_image_are_cropped_at_the_same_place() -> None:
    cfg = load_config(CONFIG, SCALES=[96, 128])  # scale 1: nothing is interpolated
    image, labels = numbered(96, 128)
    seen = set()
    for step in range(5):
        batch = segmentation_batch(image, labels, cfg, Draws(0, step))
        assert batch["data"].shape == (1, 3, 80, 112) and batch["label"].shape == (1, 1, 80, 112)
        np.testing.assert_allclose(batch["data"][0, 0] + 123.15, batch["label"][0, 0], atol=1e-4)
        seen.add(batch["label"].tobytes())
    assert len(seen) == 5


def test_without_a_crop_labels_are_resized_by_the_nearest_pixel_with_the_images_factor() -> None:
    cfg = load_config(CONFIG, SCALES=[48, 128], TRAIN__ENABLE_CROP=False)
    image, labels = numbered(97, 131)
    batch = segmentation_batch(image, labels, cfg, Draws(0))
    scale = 48 / 97
    expected = cv2.resize(labels, None, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(batch["label"][0, 0], expected)
    assert batch["data"].shape[2:] == batch["label"].shape[2:] == to_network_input(image, cfg)[0].shape[2:]


def test_padding_has_no_class() -> None:
    cfg = load_config(CONFIG, SCALES=[48, 128], TRAIN__ENABLE_CROP=False, network__IMAGE_STRIDE=32)
    image, labels = numbered(48, 70)
    label = segmentation_batch(image, labels, cfg, Draws(0))["label"][0, 0]
    assert label.shape == (64, 96)
    np.testing.assert_array_equal(label[:48, :70], labels)
    assert (label[48:] == 255).all() and (label[:, 70:] == 255).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_crop_stays_inside_and_reaches_every_place(height: int, width: int, data: st.DataObject) -> None:
    crop = data.draw(st.tuples(st.integers(1, height), st.integers(1, width)))
    rows, columns = crop_window((height, width), crop, Draws(data.draw(st.integers(0, 9))))
    assert rows.start >= 0 and rows.stop <= height and rows.stop - rows.start == crop[0]
    assert columns.start >= 0 and columns.stop <= width and columns.stop - columns.start == crop[1]


def test_every_place_of_a_crop_is_drawn() -> None:
    starts = {crop_window((4, 3), (2, 3), Draws(0, step))[0].start for step in range(40)}
    assert starts == {0, 1, 2}


def test_log_loss_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    prob = rng.dirichlet(np.ones(4), size=(5, 6)).transpose(2, 0, 1)[None].astype(np.float32)
    label = rng.choice([0, 1, 2, 3, 255], (1, 1, 5, 6)).astype(np.float32)
    terms = [
        -np.log(float(prob[0, int(label[0, 0, y, x]), y, x]) + 1e-14)
        for y in range(5)
        for x in range(6)
        if label[0, 0, y, x] != 255
    ]
    assert segmentation_metrics(prob, label)["FCNLogLoss"] == pytest.approx(sum(terms) / len(terms), rel=1e-12)
    assert segmentation_metrics(prob, np.full_like(label, 255)) == {"FCNLogLoss": 0.0}


def test_iou_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(4)
    predicted, labels = rng.integers(0, 4, (9, 7)), rng.choice([0, 1, 2, 255], (9, 7))
    expected = []
    for index in range(4):
        pairs = [(p == index, t == index) for p, t in zip(predicted.flat, labels.flat, strict=True) if t != 255]
        either = sum(a or b for a, b in pairs)
        expected.append(sum(a and b for a, b in pairs) / max(1, either))
    np.testing.assert_allclose(intersection_over_union(confusion(predicted, labels, 4)), expected, rtol=1e-12)


def test_of_equal_scores_the_lower_class_wins() -> None:
    assert label_map(np.array([1.0, 3, 3]).reshape(1, 3, 1, 1)).tolist() == [[1]]


def test_label_map_comes_back_at_the_size_of_the_image_without_its_padding() -> None:
    cfg = load_config(CONFIG, SCALES=[2, 4], network__IMAGE_STRIDE=4)
    prob = np.zeros((1, 3, 4, 4), np.float32)
    prob[0, 1, :2, :2] = prob[0, 2, :2, 2:] = 1  # the lower half is padding
    labels = image_labels(prob, np.zeros((4, 8, 3), np.uint8), cfg)
    assert labels.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2]] * 4


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((9, 8), np.uint8), r"expected one a pixel, \[8, 9\], got \[9, 8\]"),
        (np.zeros((8, 9)), "expected integers, got float64"),
        (np.full((8, 9), 7), r"expected 0 to 4, or 255 .* got \[7\]: is dataset.NUM_CLASSES right"),
        (np.full((8, 9), -1), r"got \[-1\]"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        segmentation_batch(np.zeros((8, 9, 3), np.uint8), labels, load_config(CONFIG), Draws(0))


def test_a_crop_larger_than_the_image_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="of 60x80 pixels, got 80x112: set SCALES larger"):
        image, labels = numbered(96, 128)
        segmentation_batch(image, labels, load_config(CONFIG, SCALES=[60, 80]), Draws(0))


def test_scenes_label_what_they_painted_over() -> None:
    scene = SceneSource(3, 96, 128)[0]
    assert scene.labels.shape == (96, 128)
    assert set(np.unique(scene.labels)) == {0, *scene.classes.tolist()}
    for box, kind in zip(scene.boxes.astype(int), scene.classes, strict=True):
        window = scene.labels[box[1] : box[3] + 1, box[0] : box[2] + 1]
        assert (window == kind).mean() > 0.15
    outside = np.ones((96, 128), bool)
    for box in scene.boxes.astype(int):
        outside[box[1] : box[3] + 1, box[0] : box[2] + 1] = False
    assert (scene.labels[outside] == 0).all()


def test_the_task_follows_from_the_network() -> None:
    assert task_of(load_config(CONFIG)) is SEGMENTATION
    assert task_of(load_config("demo/narrow_rfcn")) is DETECTION
