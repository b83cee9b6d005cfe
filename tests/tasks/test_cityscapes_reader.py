"""Cityscapes: layout, label ids to training ids, what is missing."""

import made_data
import numpy as np
import pytest

from dcn_tasks.config import load_config
from dcn_tasks.data import open_dataset
from dcn_tasks.data.cityscapes import training_ids
from dcn_tasks.errors import InputError

CFG = load_config("deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_base")


def street(root, kind, labels, split="train"):
    made_data.save_image(root / "leftImg8bit" / split / "ulm" / "ulm_000001_leftImg8bit.png", *labels.shape)
    made_data.save_labels(root / "gtFine" / split / "ulm" / f"ulm_000001_gtFine_{kind}.png", labels)


def test_label_ids_become_training_ids(tmp_path):
    street(tmp_path, "labelIds", np.repeat([0, 7, 8, 26, 29, 33], 10).reshape(6, 10))
    sample = open_dataset(CFG, "train", tmp_path)[0]
    assert sample.id == "ulm_000001"
    assert sample.read_labels()[:, 0].tolist() == [255, 0, 1, 13, 255, 18]
    assert sorted(set(training_ids())) == [*range(19), 255]


def test_files_of_training_ids_are_taken_as_they_are(tmp_path):
    street(tmp_path, "labelIds", np.full((6, 10), 7))
    street(tmp_path, "labelTrainIds", np.full((6, 10), 13))
    assert (open_dataset(CFG, "train", tmp_path)[0].read_labels() == 13).all()


def test_a_test_set_has_no_labels_and_others_must(tmp_path):
    for split in ("train", "test"):
        street(tmp_path, "nothing", np.zeros((6, 10)), split)
    dataset = open_dataset(CFG, "train", tmp_path, image_set="leftImg8bit_test")
    assert dataset[0].read_labels() is None
    with pytest.raises(
        InputError, match=r"labelTrainIds\.png: expected a label map, or ulm_000001_gtFine_labelIds\.png"
    ):
        open_dataset(CFG, "train", tmp_path)


def test_missing_data_names_the_layout_and_the_publisher(tmp_path):
    with pytest.raises(InputError, match=r"leftImg8bit/train/CITY.*gtFine_labelIds\.png.*www\.cityscapes-dataset\.com"):
        open_dataset(CFG, "train", tmp_path)
    with pytest.raises(InputError, match="expected image sets like leftImg8bit_train"):
        open_dataset(CFG, "train", tmp_path, image_set="train")


def test_real_label_maps_hold_training_ids_only(data_folder, tmp_path):
    source = data_folder / "cityscapes_sample"
    for kind, folder in (("leftImg8bit", "train_img"), ("gtFine", "train_label")):
        (tmp_path / kind / "train").mkdir(parents=True)
        (tmp_path / kind / "train" / "aachen").symlink_to(source / folder)
    dataset = open_dataset(CFG, "train", tmp_path)
    sample = dataset[0]
    assert (len(dataset), sample.width, sample.height) == (8, 2048, 1024)
    raw = made_data.read_grey(sample.labels)
    labels = sample.read_labels()
    for label_id, training_id in ((7, 0), (11, 2), (23, 10), (26, 13), (3, 255)):
        assert (labels[raw == label_id] == training_id).all() and (raw == label_id).any()
