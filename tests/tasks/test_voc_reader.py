"""PASCAL VOC: layout, box rule, quirks, unions, segmentation with and without SBD, and what is refused."""

import re
import struct
import zlib

import made_data
import numpy as np
import pytest
from scipy.io import savemat

from dcn_tasks.config import load_config
from dcn_tasks.data import open_dataset
from dcn_tasks.data.mat_file import COMPRESSED, MATRIX, MAX_BYTES
from dcn_tasks.data.sbd import read_sbd_labels
from dcn_tasks.errors import InputError

DETECTION = load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem")
MODERN = load_config(DETECTION, dataset__MODE="modern")
SEGMENTATION = load_config("deeplab/deeplab_resnet_v1_101_voc12_segmentation_base")


def one_image(root, objects, cfg=DETECTION, **more):
    made_data.voc(root, "2007", "test", {"000001": objects})
    return open_dataset(cfg, "test", root, **more)[0]


def test_pixels_are_counted_from_0_and_the_far_edge_is_inclusive(tmp_path):
    sample = one_image(tmp_path, [("cat", (1, 2, 10, 20), 0)])
    assert sample.boxes.tolist() == [[0, 1, 9, 19]]
    assert (sample.height, sample.width, sample.classes.tolist()) == (40, 60, [8])


def test_difficult_objects_are_kept_for_scoring_and_not_trained_on(tmp_path):
    sample = one_image(tmp_path, [("cat", (1, 2, 10, 20), 1), ("dog", (5, 5, 9, 9), 0)])
    assert sample.difficult.tolist() == [True, False]
    assert sample.read().gt_boxes.tolist() == [[4, 4, 8, 8, 12]]


def test_original_cuts_fractions_off_and_modern_keeps_them(tmp_path):
    objects = [("cat", (1.9, 2.2, 10.7, 20.5), 0)]
    assert one_image(tmp_path / "a", objects).boxes.tolist() == [[0, 1, 9, 19]]
    assert one_image(tmp_path / "b", objects, MODERN).boxes == pytest.approx(np.array([[0.9, 1.2, 9.7, 19.5]]))


def test_a_corner_at_0_wraps_in_the_originals_16_bits_and_is_clipped_in_modern(tmp_path):
    objects = [("cat", (0, 2, 10, 20), 0)]
    with pytest.raises(InputError, match=r"000001\.xml.*hold as \[65535\.0.*MODE: modern"):
        one_image(tmp_path / "a", objects)
    assert one_image(tmp_path / "b", objects, MODERN).boxes.tolist() == [[0, 1, 9, 19]]


def test_modern_clips_boxes_to_the_image_and_says_which_have_no_area(tmp_path):
    made_data.voc(tmp_path, "2007", "test", {"a": [("cat", (50, 30, 99, 99), 0), ("cat", (9, 9, 9, 20), 0),
                                                   ("dog", (70, 5, 90, 9), 0)]})  # fmt: skip
    dataset = open_dataset(MODERN, "test", tmp_path)
    assert dataset[0].boxes.tolist() == [[49, 29, 59, 39]]
    assert len(dataset.notes) == 1 and "2 boxes without area" in dataset.notes[0] and "a.xml" in dataset.notes[0]


def test_sets_are_joined_by_plus_and_found_in_a_development_kit(tmp_path):
    made_data.voc(tmp_path / "VOCdevkit", "2007", "trainval", {"000001": [("cat", (1, 1, 9, 9), 0)]})
    made_data.voc(tmp_path / "VOCdevkit", "2012", "trainval", {"2008_000001": [("dog", (1, 1, 9, 9), 0)]})
    dataset = open_dataset(DETECTION, "train", tmp_path)
    assert [sample.id for sample in (dataset[0], dataset[1])] == ["000001", "2008_000001"]


def test_missing_data_names_the_layout_and_the_publisher(tmp_path):
    with pytest.raises(InputError, match=r"VOC2007/JPEGImages.*ImageSets/Main.*host\.robots\.ox\.ac\.uk.*--data"):
        open_dataset(DETECTION, "test", tmp_path)


def test_an_unknown_class_names_file_and_nearest_class(tmp_path):
    with pytest.raises(InputError, match=r"000001\.xml.*'katze'.*CLASS_NAMES"):
        one_image(tmp_path, [("katze", (1, 1, 9, 9), 0)])


BROKEN = {
    "no XML": ("<annotation><size>", "could not read it"),
    "entities that grow": (
        '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>',
        "DOCTYPE",
    ),
    "no size": ("<annotation/>", "<width>, got nothing"),
    "a word for a number": (made_data.annotation([("cat", ("left", 1, 9, 9), 0)]), "<xmin>, got 'left'"),
    "an infinite corner": (made_data.annotation([("cat", ("inf", 1, 9, 9), 0)]), "<xmin>, got 'inf'"),
    "a size of 0": (made_data.annotation([], 0, 60), "60 and 0"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_annotation_is_a_sentence_and_can_be_skipped(tmp_path, text, message):
    home = made_data.voc(tmp_path, "2007", "test", {id: [("cat", (1, 1, 9, 9), 0)] for id in "ab"})
    (home / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(InputError, match=r"a\.xml") as error:
        open_dataset(DETECTION, "test", tmp_path)
    assert message in str(error.value)
    dataset = open_dataset(DETECTION, "test", tmp_path, bad="skip")
    assert [dataset[0].id, len(dataset)] == ["b", 1] and "1 of 2 images left out" in dataset.notes[0]


def test_an_annotation_of_nothing_is_an_image_without_objects(tmp_path):
    sample = one_image(tmp_path, [])
    assert sample.read().gt_boxes.shape == (0, 5)


def test_a_missing_image_is_a_sentence(tmp_path):
    home = made_data.voc(tmp_path, "2007", "test", {"a": []})
    (home / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"a\.jpg: expected an image, there is no such file"):
        open_dataset(DETECTION, "test", tmp_path)


def segmentation_set(root, sets, marks=()):
    home = root / "VOC2012"
    for name, ids in sets.items():
        path = home / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(ids))
        for id in ids:
            labels = np.zeros((40, 60))
            labels[:5], labels[5:10] = 255, 15
            made_data.save_labels(home / "SegmentationClass" / f"{id}.png", labels)
    for id in {id for ids in sets.values() for id in ids} | set(marks):
        made_data.save_image(home / "JPEGImages" / f"{id}.jpg")
    return home


def test_label_maps_are_palette_numbers_with_255_for_void(tmp_path):
    segmentation_set(tmp_path, {"train": ["a"], "val": ["b"]})
    dataset = open_dataset(SEGMENTATION, "train", tmp_path)
    assert [len(dataset), dataset[0].id] == [1, "a"]
    assert np.unique(dataset[0].read_labels()).tolist() == [0, 15, 255]


@pytest.mark.parametrize("kind", ["matlab", "png"])
def test_sbd_adds_its_masks_without_those_of_vocs_val_and_train(tmp_path, kind):
    home = segmentation_set(tmp_path, {"train": ["a"], "val": ["b"]}, marks=["c", "d"])
    mask = np.full((40, 60), 7, np.uint8)
    sbd = tmp_path / "SBD"
    (sbd / "cls").mkdir(parents=True)
    for id in "abcd":
        if kind == "png":
            made_data.save_labels(home / "SegmentationClassAug" / f"{id}.png", mask)
        else:
            savemat(sbd / "cls" / f"{id}.mat", {"GTcls": {"Segmentation": mask}})
    (sbd / "train.txt").write_text("a\nc\n")
    (sbd / "val.txt").write_text("b\nd\n")
    dataset = open_dataset(SEGMENTATION, "train", tmp_path, image_set="2012_train_aug_seg")
    assert [dataset[place].id for place in range(len(dataset))] == ["a", "c", "d"]
    assert 15 in dataset[0].read_labels() and (dataset[1].read_labels() == 7).all()


def test_a_mat_file_of_something_else_is_a_sentence(tmp_path):
    home = segmentation_set(tmp_path, {"train": ["a"], "val": ["b"]}, marks=["c"])
    (home.parent / "SBD" / "cls").mkdir(parents=True)
    savemat(home.parent / "SBD" / "cls" / "c.mat", {"other": 1})
    (home.parent / "SBD" / "train.txt").write_text("c")
    (home.parent / "SBD" / "val.txt").write_text("")
    dataset = open_dataset(SEGMENTATION, "train", tmp_path, image_set="2012_train_aug_seg")
    with pytest.raises(InputError, match=re.escape("c.mat: expected a mask of SBD")):
        dataset[1].read_labels()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_mat_file_is_read_whole_and_damaged_is_a_sentence_or_a_mask(tmp_path, compressed):
    """Damage of the file, and of what is compressed in it, where no checksum would tell."""
    path, rng = tmp_path / "a.mat", np.random.default_rng(0)
    mask = rng.integers(0, 21, (40, 60), np.uint8)
    fields = {"Boundaries": rng.random((3, 2)), "Segmentation": mask, "CategoriesPresent": np.array([[2.0], [15.0]])}
    savemat(path, {"first": 1.0, "GTcls": fields})
    data = path.read_bytes()
    header, variables = data[:128], data[128:]

    def write(content: bytes) -> None:
        packed = zlib.compress(content, 1)
        path.write_bytes(header + (struct.pack("<II", COMPRESSED, len(packed)) + packed if compressed else content))

    if compressed:
        _, variables = (
            variables[at:] for at in (0, 8 + struct.unpack_from("<I", variables, 4)[0])
        )  # the last one alone
    write(variables)
    assert (read_sbd_labels(path) == mask).all()
    outcomes = {"mask": 0, "sentence": 0}
    for _ in range(600):
        damaged = bytearray(variables)
        damaged[rng.integers(min(len(damaged), 700))] = rng.integers(256)
        write(bytes(damaged[: rng.integers(len(damaged) // 2, 2 * len(damaged))]))
        try:
            read_sbd_labels(path)
            outcomes["mask"] += 1
        except InputError as error:
            assert "a.mat: expected a mask of SBD" in str(error)
            outcomes["sentence"] += 1
    assert min(outcomes.values()) > 20, outcomes


def test_a_mat_file_that_would_fill_the_memory_is_a_sentence(tmp_path):
    path = tmp_path / "a.mat"

    def block(content: bytes) -> bytes:
        packed = zlib.compress(content)
        return struct.pack("<II", COMPRESSED, len(packed)) + packed

    half = struct.pack("<II", 1, MAX_BYTES // 2) + bytes(MAX_BYTES // 2)  # numbers, no matrix
    for blocks, sentence in (
        (block(bytes(MAX_BYTES + 1)), "more than 64 MiB"),
        (3 * block(half), "more than 64 MiB"),
        (block(struct.pack("<II", MATRIX, 80_000) + bytes(80_000)), "a variable without content|no variable GTcls"),
        (struct.pack("<II", 1, 0) * 5000, "more than 1000 elements"),
    ):
        path.write_bytes(bytes(126) + b"IM" + blocks)
        with pytest.raises(InputError, match=sentence):
            read_sbd_labels(path)


@pytest.mark.parametrize("wrong", [300, -1, 1.5, np.nan])
def test_labels_that_are_no_byte_are_a_sentence(tmp_path, wrong):
    savemat(tmp_path / "a.mat", {"GTcls": {"Segmentation": np.array([[1.0, wrong], [2.0, 3.0]])}})
    with pytest.raises(InputError, match="no whole numbers of a byte"):
        read_sbd_labels(tmp_path / "a.mat")


def test_real_voc_files_are_read(data_folder, tmp_path):
    """The three genuine images: 9 boxes, and masks of their classes, of the images' sizes."""
    home = data_folder / "voc_sample" / "bbox_detection" / "data_dataset_voc"
    kit = tmp_path / "VOC2012"
    (kit / "ImageSets" / "Main").mkdir(parents=True)
    (kit / "ImageSets" / "Segmentation").mkdir()
    ids = sorted(path.stem for path in (home / "Annotations").glob("*.xml"))
    for kind, name in (("Main", "trainval"), ("Segmentation", "train")):
        (kit / "ImageSets" / kind / f"{name}.txt").write_text("\n".join(ids))
    (kit / "JPEGImages").symlink_to(home / "JPEGImages")
    (kit / "Annotations").symlink_to(home / "Annotations")
    masks = data_folder / "voc_sample" / "semantic_segmentation" / "data_dataset_voc" / "SegmentationClass"
    (kit / "SegmentationClass").symlink_to(masks)
    boxes = open_dataset(DETECTION, "train", tmp_path, image_set="2012_trainval")
    labels = open_dataset(SEGMENTATION, "train", tmp_path)
    assert sum(len(boxes[place].boxes) for place in range(len(boxes))) == 9
    for place in range(3):
        found = set(np.unique(labels[place].read_labels()).tolist())
        assert found == [{0, 5, 15, 255}, {0, 9, 15, 18, 255}, {0, 6, 7}][place]
        assert boxes[place].read_image().shape[:2] == labels[place].read_labels().shape


def test_a_network_of_other_classes_is_a_sentence(tmp_path):
    made_data.voc(tmp_path, "2007", "test", {"a": []})
    with pytest.raises(InputError, match=r"NUM_CLASSES: expected 21, .* got 5"):
        open_dataset(load_config(DETECTION, dataset__NUM_CLASSES=5), "test", tmp_path)
