"""mIoU against a brute-force count, over both rules of resizing; accuracy."""

import cv2
import numpy as np
import pytest

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.scoring import accuracy, image_confusion, region_scores
from tests.tolerances import SAME_AP

STREET = load_config(
    "deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_base", SCALES=[24, 48], dataset__NUM_CLASSES=4
)
VOC = load_config("deeplab/deeplab_resnet_v1_101_voc12_segmentation_base", SCALES=[24, 48], dataset__NUM_CLASSES=4)


def example(seed: int, height: int = 36, width: int = 54):
    rng = np.random.default_rng(seed)
    labels = cv2.resize(rng.integers(0, 4, (6, 9)).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    labels[rng.random(labels.shape) < 0.1] = 255
    return rng.random((1, 4, 24, 36)).astype(np.float32), np.zeros((height, width, 3), np.uint8), labels


def brute_force(predicted, labels, count: int) -> np.ndarray:
    """IoU of every class by sets of pixels."""
    asked = [pixel for pixel in np.ndindex(labels.shape) if labels[pixel] != 255]
    result = []
    for index in range(count):
        labelled = {pixel for pixel in asked if labels[pixel] == index}
        found = {pixel for pixel in asked if predicted[pixel] == index}
        result.append(len(labelled & found) / max(1, len(labelled | found)))
    return np.array(result)


@pytest.mark.parametrize("seed", range(3))
def test_predictions_are_enlarged_to_the_labels(seed):
    prob, image, labels = example(seed)
    predicted = cv2.resize(prob[0].argmax(0).astype(np.uint8), (54, 36), interpolation=cv2.INTER_NEAREST)
    scores = region_scores(image_confusion(prob, image, labels, STREET), list("abcd"))
    wanted = brute_force(predicted, labels, 4)
    assert scores["mIoU"] == pytest.approx(100 * wanted.mean(), abs=100 * SAME_AP)
    assert [scores[f"IoU {name}"] for name in "abcd"] == pytest.approx((100 * wanted).tolist(), abs=100 * SAME_AP)
    assert scores["pixel accuracy"] == pytest.approx(
        100 * (predicted == labels)[labels != 255].mean(), abs=100 * SAME_AP
    )


def test_vocs_labels_are_shrunk_in_original_mode_and_not_in_modern():
    prob, image, labels = example(0)
    small = cv2.resize(labels, (36, 24), interpolation=cv2.INTER_NEAREST)
    scores = region_scores(image_confusion(prob, image, labels, VOC), list("abcd"))
    assert scores["mIoU"] == pytest.approx(100 * brute_force(prob[0].argmax(0), small, 4).mean(), abs=100 * SAME_AP)
    modern = load_config(VOC, dataset__MODE="modern")
    assert (image_confusion(prob, image, labels, modern) == image_confusion(prob, image, labels, STREET)).all()


def test_images_are_summed_before_the_quotient():
    parts = [image_confusion(*example(seed), STREET) for seed in (0, 1)]
    whole = region_scores(parts[0] + parts[1], list("abcd"))["mIoU"]
    assert whole != pytest.approx(np.mean([region_scores(part, list("abcd"))["mIoU"] for part in parts]), abs=1e-9)


def test_a_class_that_nobody_saw_is_zero_in_original_mode_and_left_out_in_modern():
    counts = np.diag([5, 5, 0])
    assert region_scores(counts, list("abc"))["mIoU"] == pytest.approx(100 * 2 / 3)
    modern = region_scores(counts, list("abc"), original=False)
    assert modern["mIoU"] == 100 and np.isnan(modern["IoU c"])


def test_accuracy_of_scores_and_of_classes():
    assert accuracy(np.array([[0.1, 0.9], [0.5, 0.5], [0.2, 0.8]]), np.array([1, 0, 0])) == pytest.approx(200 / 3)
    assert accuracy(np.array([1, 0]), np.array([1, 0])) == 100
    with pytest.raises(InputError, match="one label a prediction"):
        accuracy(np.array([1, 0]), np.array([1]))
