"""COCO's numbers: pycocotools fed by hand is the witness for the way our detections reach it; a count by hand for the rest."""

import contextlib
import io
import json
import math

import made_data
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dcn_tasks.config import load_config
from dcn_tasks.data import open_dataset
from dcn_tasks.detections import Detections
from dcn_tasks.errors import InputError
from dcn_tasks.scoring import coco_results, coco_scores, detection_scores
from tests.tolerances import SAME_AP

CFG = load_config("rfcn/resnet_v1_101_coco_trainval_rfcn_end2end_ohem", dataset__test_image_set="val2017")


def found_near(dataset, seed: int, *, jitter: float = 6.0) -> list[Detections]:
    """Guesses around every object, some of another class, some anywhere."""
    rng = np.random.default_rng(seed)
    guesses = []
    for index in range(len(dataset)):
        sample = dataset[index]
        rows = np.repeat(np.arange(len(sample.boxes)), 2)
        boxes = sample.boxes[rows] + rng.normal(0, jitter, (len(rows), 4))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        classes = np.where(rng.random(len(rows)) < 0.8, sample.classes[rows], rng.integers(1, 81, len(rows)))
        guesses.append(Detections(boxes, rng.random(len(rows)), classes))
    return guesses


def by_hand(path, results: list[dict]) -> np.ndarray:
    """pycocotools' twelve numbers from files alone."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return np.where(judge.stats < 0, np.nan, 100 * judge.stats)


def random_coco(root, seed: int):
    rng = np.random.default_rng(seed)
    names = ("person", "car", "dog")
    objects = []
    for image in range(1, 13):
        for _ in range(rng.integers(1, 6)):
            x, y = rng.uniform(0, 120, 2)
            size = rng.uniform(8, 110, 2)
            box = [x, y, *np.minimum(size, [239 - x, 179 - y])]
            objects.append({"image_id": image, "category_id": 17 + int(rng.integers(3)), "bbox": box,
                            "iscrowd": int(rng.random() < 0.15), "segmentation": []})  # fmt: skip
    return made_data.coco(
        root, "val2017", made_data.coco_content(objects, images=12, height=180, width=240, names=names)
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_twelve_numbers_are_pycocotools_own_with_crowds(tmp_path, seed):
    path = random_coco(tmp_path, seed)
    dataset = open_dataset(CFG, "test", tmp_path)
    found = found_near(dataset, seed)
    ours = coco_scores(found, dataset)
    assert 5 < ours["AP"] < 95
    theirs = by_hand(path, json.loads(json.dumps(coco_results(found, dataset))))
    assert list(ours.values()) == pytest.approx(theirs.tolist(), abs=100 * SAME_AP, nan_ok=True)
    assert detection_scores(found, dataset, CFG) == pytest.approx(ours, nan_ok=True)


def test_twelve_numbers_are_pycocotools_own_on_real_annotations(data_folder, tmp_path):
    (tmp_path / "annotations").mkdir()
    source = data_folder / "coco_sample"
    (tmp_path / "annotations" / "instances_val2017.json").symlink_to(source / "derived_boxes_train2017.json")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "val2017").symlink_to(source / "images" / "train2017")
    dataset = open_dataset(CFG, "test", tmp_path)
    found = found_near(dataset, 3)
    theirs = by_hand(source / "derived_boxes_train2017.json", coco_results(found, dataset))
    ours = coco_scores(found, dataset)
    assert len(dataset) == 128 and 5 < ours["AP"] < 95
    assert list(ours.values()) == pytest.approx(theirs.tolist(), abs=100 * SAME_AP, nan_ok=True)


def test_exact_boxes_score_everything_and_nothing_scores_nothing(tmp_path):
    content = made_data.coco_content(
        [{"image_id": 1, "category_id": 17, "bbox": [4, 5, 20, 10]}], names=("person", "car")
    )
    made_data.coco(tmp_path, "val2017", content)
    dataset = open_dataset(load_config(CFG, dataset__MODE="modern"), "test", tmp_path)
    nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    exact = Detections(np.array([[4.0, 5, 23, 14]]), np.array([0.9]), np.array([1]))
    assert coco_results([exact, nothing], dataset)[0] == {
        "image_id": 1, "category_id": 17, "bbox": [4, 5, 20, 10], "score": 0.9
    }  # fmt: skip
    assert coco_scores([exact, nothing], dataset)["AP"] == pytest.approx(100)
    scores = coco_scores([nothing, nothing], dataset)
    assert scores["AP"] == 0 and math.isnan(scores["APl"])


def test_any_data_set_can_be_counted_so(tmp_path):
    made_data.voc(tmp_path, "2007", "test", {"a": [("cat", (2, 3, 30, 31), 0), ("cat", (40, 3, 55, 31), 1)]})
    cfg = load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem")
    dataset = open_dataset(cfg, "test", tmp_path)
    on_both = Detections(dataset[0].boxes, np.array([0.8, 0.9]), dataset[0].classes)
    assert coco_scores([on_both], dataset)["AP"] == pytest.approx(100)  # the difficult one counts neither way


def test_a_test_set_without_objects_is_a_sentence(tmp_path):
    made_data.coco(tmp_path, "val2017", made_data.coco_content([], names=("person",)))
    dataset = open_dataset(CFG, "test", tmp_path)
    with pytest.raises(InputError, match="there are none"):
        coco_scores([], dataset)
