"""Quirks that have no file of their own: each differs between dataset.MODE original and modern, by hand."""

from pathlib import Path

import made_data
import numpy as np
import pytest
import yaml

from dcn_tasks.batch import training_batch
from dcn_tasks.config import load_config
from dcn_tasks.data import open_dataset
from dcn_tasks.detections import Detections
from dcn_tasks.scoring import detection_scores
from dcn_tasks.streams import Draws

VOC = load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem")
DOCS = Path(__file__).resolve().parents[2] / "docs"


def modern(cfg):
    return load_config(cfg, dataset__MODE="modern")


def test_an_object_that_no_anchor_overlaps_makes_all_positive_or_none():
    """Anchors lie inside the image: none of them meets an object of one pixel in the corner of a narrow one."""
    image, corner = np.zeros((120, 1000, 3), np.uint8), np.array([[0, 0, 0, 0, 1]], np.float32)
    cfg = load_config(VOC, SCALES=[120, 1000])
    labels = [training_batch(image, corner, each, Draws(0, 1))["label"] for each in (cfg, modern(cfg))]
    assert set(labels[0].tolist()[0]) == {-1, 1} and (labels[0] == 1).sum() > 50
    assert set(labels[1].tolist()[0]) == {-1, 0}


def test_modern_leaves_ordinary_targets_alone():
    image, box = np.zeros((300, 400, 3), np.uint8), np.array([[40, 40, 200, 200, 3]], np.float32)
    left, right = (training_batch(image, box, each, Draws(0, 1)) for each in (VOC, modern(VOC)))
    assert all((left[name] == right[name]).all() for name in left) and (left["label"] == 1).any()


def scored(cfg, tmp_path, box, score=0.9, truth=(11, 11, 20, 20)):
    made_data.voc(tmp_path, "2007", "test", {"a": [("cat", truth, 0)]})
    dataset = open_dataset(cfg, "test", tmp_path)
    found = [Detections(np.array([box], float), np.array([score]), np.array([8]))]
    return detection_scores(found, dataset, cfg)


@pytest.mark.parametrize("year", ["2007", "2012"])
def test_11_points_until_2009_and_the_area_after(tmp_path, year):
    made_data.voc(tmp_path, year, "test", {"a": [("cat", (11, 11, 20, 20), 0)]})
    dataset = open_dataset(VOC, "test", tmp_path, image_set=f"{year}_test")
    exact = [Detections(dataset[0].boxes, np.array([0.9]), np.array([8]))]
    assert next(iter(detection_scores(exact, dataset, VOC))) == (
        "mAP@0.5 (11 points)" if year == "2007" else "mAP@0.5 (area)"
    )


def test_an_overlap_equal_to_the_threshold_counts_in_modern_only(tmp_path):
    half = [10, 10, 19, 14]  # 50 of 100 pixels
    assert scored(VOC, tmp_path / "a", half)["mAP@0.5 (11 points)"] == 0
    assert scored(modern(VOC), tmp_path / "b", half)["mAP@0.5 (11 points)"] == pytest.approx(100)


def test_original_counts_detections_as_its_result_files_hold_them(tmp_path):
    nearly = [10, 10, 19, 14.03]  # a little more than half; written as 15.0 from 1
    assert scored(VOC, tmp_path / "a", nearly)["mAP@0.5 (11 points)"] == 0
    assert scored(modern(VOC), tmp_path / "b", nearly)["mAP@0.5 (11 points)"] == pytest.approx(100)


def test_the_example_in_the_docs_is_a_configuration(tmp_path):
    text = (DOCS / "data.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    values = yaml.safe_load(text)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({key: values[key] for key in values if key != "_base_"}))
    cfg = load_config(values["_base_"], **{f"dataset__{key}": value for key, value in values["dataset"].items()})
    home = made_data.voc(tmp_path, "2007", "train", {"a": [(name, (1, 1, 9, 9), 0) for name in ("x", "y", "z")]})
    assert len(open_dataset(cfg, "train", home)[0].boxes) == 3


def test_the_docs_name_every_reader():
    from dcn_tasks.data.open import READERS

    page = (DOCS / "data.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in READERS)
