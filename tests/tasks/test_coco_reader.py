"""COCO: layout, category ids, crowds, which boxes are kept, and what is refused."""

import json

import made_data
import numpy as np
import pytest

from dcn_tasks.class_names import COCO
from dcn_tasks.config import load_config
from dcn_tasks.data import open_dataset
from dcn_tasks.errors import InputError

ORIGINAL = load_config("rfcn/resnet_v1_101_coco_trainval_rfcn_end2end_ohem", dataset__image_set="val2017")
MODERN = load_config(ORIGINAL, dataset__MODE="modern")
NAMES = ("person", "toothbrush")


def dataset_of(root, objects, cfg=ORIGINAL, **more):
    made_data.coco(root, "val2017", made_data.coco_content(objects, names=NAMES, **more))
    return open_dataset(cfg, "train", root)


def cat(box, **more):
    return {"image_id": 1, "category_id": 17, "bbox": list(box)} | more


def test_category_ids_become_class_numbers_and_back(tmp_path):
    dataset = dataset_of(tmp_path, [cat([1, 2, 5, 6], category_id=18)])
    assert dataset[0].classes.tolist() == [len(COCO)] == [80]
    assert dataset.category_ids[0] == 17 and dataset.category_ids[79] == 18


def test_original_cuts_corners_to_whole_pixels_and_modern_keeps_them(tmp_path):
    box = [1.6, 2.7, 10.5, 6.9]
    assert dataset_of(tmp_path / "a", [cat(box)])[0].boxes.tolist() == [[1, 2, 11, 8]]
    assert dataset_of(tmp_path / "b", [cat(box)], MODERN)[0].boxes == pytest.approx(np.array([[1.6, 2.7, 11.1, 8.6]]))


def test_crowds_are_never_trained_on(tmp_path):
    crowd = cat([1, 2, 20, 20], iscrowd=1)
    assert len(dataset_of(tmp_path / "a", [crowd])[0].boxes) == 0  # the original does not load them
    sample = dataset_of(tmp_path / "b", [crowd], MODERN)[0]
    assert sample.crowd.tolist() == [True] and len(sample.read().gt_boxes) == 0


def test_boxes_outside_the_image_or_without_area_are_left_out_with_a_note(tmp_path):
    objects = [cat([70, 5, 9, 9]), cat([1, 1, 9, 9], area=0), cat([50, 30, 99, 99])]
    dataset = dataset_of(tmp_path, objects)
    assert dataset[0].boxes.tolist() == [[50, 30, 59, 39]]
    assert "2 boxes" in dataset.notes[0] and "annotation 1" in dataset.notes[0]


def test_boxes_without_width_are_an_objects_only_where_the_original_says_so(tmp_path):
    objects = [cat([10, 10, 0, 5], area=3), cat([10, 10, -5, 5], area=3), cat([10, 10, 5, 6], area=3)]
    assert len(dataset_of(tmp_path / "a", objects)[0].boxes) == 3
    assert dataset_of(tmp_path / "b", objects, MODERN)[0].boxes.tolist() == [[10, 10, 14, 15]]


def test_images_of_2014_minival_come_from_val2014(tmp_path):
    path = made_data.coco(tmp_path, "val2014", made_data.coco_content([cat([1, 1, 9, 9])], names=NAMES))
    path.rename(path.with_name("instances_minival2014.json"))
    dataset = open_dataset(ORIGINAL, "train", tmp_path, image_set="minival2014")
    assert dataset[0].image.parent.name == "val2014" and dataset[0].read_image().shape == (40, 60, 3)


def test_missing_data_names_the_layout_and_the_publisher(tmp_path):
    with pytest.raises(
        InputError, match=r"annotations/instances_val2017\.json.*images/val2017.*cocodataset\.org.*--data"
    ):
        open_dataset(ORIGINAL, "train", tmp_path)


BROKEN = {
    "no JSON": ("{", "could not read it"),
    "a list": ("[]", "with a list `images`"),
    "depth": ("[" * 100000, "could not read it"),
    "an image without size": ({"images": [{"id": 1, "file_name": "a"}]}, "images: expected height (int)"),
    "an image outside": (
        {"images": [{"id": 1, "file_name": "../a.jpg", "height": 1, "width": 1}]},
        "below the folder of images",
    ),
    "three corners": ({"annotations": [cat([1, 2, 3], id=1)]}, "annotation 1: expected bbox as x, y, width, height"),
    "no list of objects": ({"annotations": None}, "expected a list `annotations`, got None"),
    "an area of no size": (
        {"annotations": [cat([1, 2, 3, 4], id=1, area=None)]},
        "annotation 1: expected area as a number, or none, got None",
    ),
    "a corner without end": ({"annotations": [cat([10**400, 2, 3, 4], id=1)]}, "annotation 1: expected bbox as x, y"),
    "a crowd of words": (
        {"annotations": [cat([1, 2, 3, 4], id=1, iscrowd="no")]},
        "annotation 1: expected iscrowd 0 or 1, or none, got 'no'",
    ),
    "an object of no image": (
        {"annotations": [cat([1, 2, 3, 4], id=1, image_id=9)]},
        "expected the id of an image, got 9",
    ),
    "an object of no category": (
        {"annotations": [cat([1, 2, 3, 4], id=1, category_id=3)]},
        "annotation 1: expected the id of one of its categories, got 3",
    ),
    "an unknown class": (
        {"categories": [{"id": 17, "name": "persona"}], "annotations": [cat([1, 2, 3, 4], id=1)]},
        "class 'persona' is unknown to the configuration, which has 80 (nearest: person)",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_annotations_are_a_sentence(tmp_path, change, message):
    content = made_data.coco_content([], names=NAMES)
    path = made_data.coco(tmp_path, "val2017", content)
    path.write_text(change if isinstance(change, str) else json.dumps(content | change))
    with pytest.raises(InputError, match=r"instances_val2017\.json") as error:
        open_dataset(ORIGINAL, "train", tmp_path)
    assert message in str(error.value)


def test_one_broken_annotation_costs_its_image_alone_where_that_is_asked_for(tmp_path):
    broken = [{"bbox": None}, {"category_id": 99}, {"area": "much"}, {"image_id": 77}]  # of images 1, 2, 3 and of none
    content = made_data.coco_content(
        [cat([1, 2, 5, 6], image_id=image) for image in (1, 2, 3, 4, 4)], images=6, names=NAMES
    )
    made_data.coco(tmp_path, "val2017", content)
    for each, change in zip(content["annotations"], broken, strict=False):
        each |= change
    content["images"].append(content["images"][0] | {"id": 7, "file_name": "../a.jpg"})
    content["images"][5]["height"] = 10**400
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"annotation \d"):
        open_dataset(MODERN, "train", tmp_path)
    dataset = open_dataset(MODERN, "train", tmp_path, bad="skip")
    assert [sample.id for sample in dataset.samples] == ["4", "5"] and len(dataset[0].boxes) == 1
    assert "1 annotations of no image left out: annotation 4" in dataset.notes[0]
    assert "5 of 7 images left out" in dataset.notes[1]


def test_two_sets_that_number_classes_differently_are_not_joined(tmp_path):
    for name, first in (("a", 1), ("b", 1), ("c", 5)):
        content = made_data.coco_content([cat([1, 2, 5, 6], category_id=first)])
        content["categories"] = [{"id": first, "name": "cat"}, {"id": first + 1, "name": "dog"}]
        made_data.coco(tmp_path, name, content)
    cfg = load_config("demo/narrow_rfcn_dcn", dataset__dataset="Folder", dataset__image_set="a+b",
                      dataset__CLASS_NAMES=[], dataset__NUM_CLASSES=3)  # fmt: skip
    assert open_dataset(cfg, "train", tmp_path).category_ids == [1, 2]
    with pytest.raises(InputError, match=r"instances_c\.json: category 'cat' has the id 5: .* 1 cat, 2 dog"):
        open_dataset(cfg, "train", tmp_path, image_set="a+c")


def test_real_annotations_keep_every_box(data_folder):
    """929 boxes of 80 classes, 2 images without objects."""
    cfg = load_config(
        MODERN, dataset__dataset="Folder", dataset__CLASS_NAMES=COCO, dataset__image_set="derived_boxes_train2017"
    )
    dataset = open_dataset(cfg, "train", data_folder / "coco_sample")
    counts = [len(dataset[index].boxes) for index in range(len(dataset))]
    assert (len(dataset), sum(counts), counts.count(0)) == (128, 929, 2)
    assert dataset[0].read_image().shape[:2] == (dataset[0].height, dataset[0].width)
