"""A folder of one's own: XML, JSON or label maps; classes given or found; lists; real sets; what is refused."""

import json

import made_data
import numpy as np
import pytest

from dcn_tasks.config import load_config
from dcn_tasks.data import open_dataset
from dcn_tasks.errors import InputError

OWN = {"dataset__dataset": "Folder", "dataset__image_set": "train", "dataset__CLASS_NAMES": []}
DETECTION = load_config("demo/narrow_rfcn_dcn", **OWN)
SEGMENTATION = load_config("demo/narrow_deeplab_dcn", **OWN)


def detection(count: int, *names: str, image_set: str = "train"):
    return load_config(
        DETECTION, dataset__NUM_CLASSES=count, dataset__CLASS_NAMES=list(names), dataset__image_set=image_set
    )


def xml_folder(root, images="images"):
    objects = {"one": [("worm", (2, 3, 20, 30), 0)], "two": [("bee", (0, 3, 70, 30), 0), ("ant", (5, 5, 5, 9), 0)]}
    home = made_data.voc(root, "2007", "train", objects)
    (home / "JPEGImages").rename(home / images)
    return home


@pytest.mark.parametrize("images", ["images", "JPEGImages"])
def test_classes_are_found_and_sorted(tmp_path, images):
    dataset = open_dataset(detection(4), "train", xml_folder(tmp_path, images))
    assert list(dataset.class_names) == ["background", "ant", "bee", "worm"]
    assert [dataset[0].classes.tolist(), dataset[1].classes.tolist()] == [[3], [2]]
    assert dataset[1].boxes.tolist() == [[0, 2, 59, 29]]  # clipped, not wrapped around
    assert "two.xml" in dataset.notes[0]  # the ant has no area


def test_classes_of_the_configuration_rule(tmp_path):
    home = xml_folder(tmp_path)
    dataset = open_dataset(detection(4, "bee", "worm", "ant"), "train", home)
    assert dataset[0].classes.tolist() == [2]
    with pytest.raises(InputError, match=r"class 'ant' is unknown .* 2 \(nearest: bee\)|class 'ant'"):
        open_dataset(detection(3, "bee", "worm"), "train", home)
    kept = open_dataset(detection(3, "bee", "worm"), "train", home, bad="skip")
    assert len(kept) == 1 and "1 of 2 images left out" in kept.notes[0]


def test_a_wrong_number_of_classes_says_what_to_write(tmp_path):
    with pytest.raises(InputError, match=r"set NUM_CLASSES: 4 and CLASS_NAMES: \[ant, bee, worm\]"):
        open_dataset(detection(21), "train", xml_folder(tmp_path))


def test_sets_are_lists_tables_or_everything(tmp_path):
    home = xml_folder(tmp_path)
    (home / "some.txt").write_text("two.jpg\n\n")
    (home / "table.csv").write_text("filename,width\ntwo.jpg,60\ntwo.jpg,60\none.jpg,60\n")
    names = ("ant", "bee", "worm")
    for image_set, ids in (("some", ["two"]), ("table.csv", ["two", "one"]), ("all", ["one", "two"])):
        dataset = open_dataset(detection(4, *names, image_set=image_set), "train", home)
        assert [dataset[index].id for index in range(len(dataset))] == ids
    with pytest.raises(InputError, match=r"image set 'none': expected ImageSets/Main/none\.txt"):
        open_dataset(detection(4, *names, image_set="none"), "train", home)


@pytest.mark.parametrize("text", ["\ufefffilename,width\none.jpg,60\n", "width,filename\n60,one.jpg\n60\n"])
def test_tables_of_spreadsheets_are_read(tmp_path, text):
    home = xml_folder(tmp_path)
    (home / "table.csv").write_text(text, encoding="utf-8")
    (home / "list.txt").write_text("\ufeffone\n", encoding="utf-8")
    for image_set in ("table", "list"):
        dataset = open_dataset(detection(2, "worm", image_set=image_set), "train", home)
        assert [dataset[index].id for index in range(len(dataset))] == ["one"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("table.csv", b"name\n", "table.csv: expected a column `filename`"),
        ("table.csv", "filename\nä.jpg\n".encode("latin-1"), "table.csv: expected a table in UTF-8"),
        ("table.csv", b"filename\n" + b"a" * 200_000, "table.csv: expected a table in UTF-8, separated by commas: field larger"),
        ("table.txt", "ä.jpg\n".encode("latin-1"), "table.txt: expected a list of images"),
        ("table.txt", b"\n", "table: expected objects in its annotations, or dataset.CLASS_NAMES"),
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_a_sentence(tmp_path, name, data, said):
    home = xml_folder(tmp_path)
    (home / name).write_bytes(data)
    with pytest.raises(InputError, match=said):
        open_dataset(detection(2, image_set="table"), "train", home)


@pytest.mark.parametrize("place", ["annotations/instances_train.json", "train.json", "train/_annotations.coco.json"])
def test_json_is_found_where_tools_put_it(tmp_path, place):
    content = made_data.coco_content([{"image_id": 1, "category_id": 18, "bbox": [1, 2, 9.5, 9]}])
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text(json.dumps(content))
    for image in content["images"]:
        made_data.save_image(tmp_path / ("train" if "train/" in place else "images") / image["file_name"])
    dataset = open_dataset(detection(3), "train", tmp_path)
    assert list(dataset.class_names) == ["background", "cat", "dog"] and dataset[0].classes.tolist() == [2]
    assert dataset[0].boxes.tolist() == [[1, 2, 9.5, 10]]


def test_an_empty_folder_names_the_layouts(tmp_path):
    with pytest.raises(InputError, match=r"Annotations/\*\.xml.*instances_train\.json"):
        open_dataset(detection(3), "train", tmp_path)
    with pytest.raises(InputError, match=r"train/ with trainannot/"):
        open_dataset(SEGMENTATION, "train", tmp_path)


@pytest.mark.parametrize(("images", "labels"), [("train", "trainannot"), ("images/train", "labels/train")])
def test_label_maps_beside_images_with_a_void_label(tmp_path, images, labels):
    made_data.save_image(tmp_path / images / "a.png")
    made_data.save_labels(tmp_path / labels / "a.png", np.repeat(np.arange(4), 600).reshape(40, 60))
    cfg = load_config(SEGMENTATION, dataset__VOID_LABELS=[3], dataset__NUM_CLASSES=3)
    sample = open_dataset(cfg, "train", tmp_path)[0]
    assert np.unique(sample.read_labels()).tolist() == [0, 1, 2, 255]
    (tmp_path / labels / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png: expected the label map of a\.png"):
        open_dataset(cfg, "train", tmp_path)


def test_real_blood_cells(data_folder):
    dataset = open_dataset(detection(4), "train", data_folder / "bccd", image_set="trainval+test")
    counts = np.bincount(np.concatenate([dataset[index].classes for index in range(len(dataset))]))
    names = dict(zip(dataset.class_names, counts.tolist(), strict=True))
    assert len(dataset) == 364 and names == {"background": 0, "Platelets": 361, "RBC": 4153, "WBC": 372}
    assert "2 boxes without area" in dataset.notes[0]


def test_real_raccoons_by_their_tables(data_folder):
    cfg = detection(2)
    sets = [
        open_dataset(cfg, "train", data_folder / "raccoon", image_set=f"data/{name}_labels.csv")
        for name in ("train", "test")
    ]
    assert [len(each) for each in sets] == [160, 40]
    assert sum(len(each[index].boxes) for each in sets for index in range(len(each))) == 217


def test_real_streets_of_camvid(data_folder):
    cfg = load_config(SEGMENTATION, dataset__NUM_CLASSES=11, dataset__VOID_LABELS=[11])
    sets = [open_dataset(cfg, "train", data_folder / "camvid", image_set=name) for name in ("train", "val", "test")]
    assert [len(each) for each in sets] == [367, 101, 233]
    assert set(np.unique(sets[0][0].read_labels())) <= {*range(11), 255}
