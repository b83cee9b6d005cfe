"""Configurations: what is read, what is refused and how the refusal reads."""

import copy
import multiprocessing
import re
from pathlib import Path

import pytest
import yaml

from dcn_tasks.config import Config, config_names, configs_root, dump, load_config, to_plain
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec

ORIGINAL = [
    "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem",
    "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem",
    "rfcn/resnet_v1_101_coco_trainval_rfcn_end2end_ohem",
    "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem",
    "rfcn/rfcn_coco_demo",
    "rfcn/deform_conv_demo",
    "rfcn/deform_psroi_demo",
]
DEEPLAB = [
    "deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_base",
    "deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_dcn",
    "deeplab/deeplab_resnet_v1_101_voc12_segmentation_base",
    "deeplab/deeplab_resnet_v1_101_voc12_segmentation_dcn",
    "deeplab/deeplab_cityscapes_demo",
]
FASTER_RCNN = [
    "faster_rcnn/resnet_v1_101_voc0712_rcnn_end2end",
    "faster_rcnn/resnet_v1_101_voc0712_rcnn_dcn_end2end",
    "faster_rcnn/resnet_v1_101_coco_trainval_rcnn_end2end",
    "faster_rcnn/resnet_v1_101_coco_trainval_rcnn_dcn_end2end",
]
FPN = [
    "fpn/resnet_v1_101_coco_trainval_fpn_end2end_ohem",
    "fpn/resnet_v1_101_coco_trainval_fpn_dcn_end2end_ohem",
]
VOC = ORIGINAL[0]


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_all_seven_rfcn_files_of_the_original_ship() -> None:
    assert set(ORIGINAL) <= set(config_names())


def test_all_five_deeplab_files_of_the_original_ship() -> None:
    assert set(DEEPLAB) <= set(config_names())


def test_both_fpn_files_of_the_original_ship() -> None:
    assert set(FPN) <= set(config_names())


def test_all_four_faster_rcnn_files_of_the_original_ship() -> None:
    assert set(FASTER_RCNN) <= set(config_names())


@pytest.mark.parametrize("name", config_names())
def test_shipped_configuration_describes_a_network_and_survives_a_dump(name: str, tmp_path: Path) -> None:
    cfg = load_config(name)
    NetworkSpec.from_config(cfg)
    assert to_plain(load_config(written(tmp_path, dump(cfg)))) == to_plain(cfg)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (ORIGINAL[0], "TRAIN.lr_step", "4.83"),
        (ORIGINAL[0], "TRAIN.end_epoch", 7),
        (ORIGINAL[0], "dataset.image_set", "2007_trainval+2012_trainval"),
        (ORIGINAL[0], "network.NUM_ANCHORS", 9),
        (ORIGINAL[0], "TRAIN.BATCH_ROIS", -1),
        (ORIGINAL[0], "TRAIN.RPN_POST_NMS_TOP_N", 300),
        (ORIGINAL[0], "TEST.max_per_image", 300),
        (DEEPLAB[0], "TRAIN.lr_step", "40.336"),
        (FPN[0], "TRAIN.lr_step", "4,6"),
        (FPN[0], "TRAIN.BATCH_ROIS_OHEM", 512),
        (FPN[0], "network.RPN_FEAT_STRIDE", (4, 8, 16, 32, 64)),
        (FPN[1], "symbol", "resnet_v1_101_fpn_dcn_rcnn"),
        (DEEPLAB[0], "TRAIN.CROP_HEIGHT", 768),
        (DEEPLAB[1], "symbol", "resnet_v1_101_deeplab_dcn"),
        (DEEPLAB[2], "TRAIN.ENABLE_CROP", False),
        (DEEPLAB[3], "dataset.NUM_CLASSES", 21),
        (FASTER_RCNN[0], "CLASS_AGNOSTIC", False),
        (FASTER_RCNN[0], "TRAIN.ENABLE_OHEM", False),
        (FASTER_RCNN[0], "TRAIN.BATCH_ROIS", 128),
        (FASTER_RCNN[0], "TRAIN.BG_THRESH_LO", 0.1),
        (FASTER_RCNN[0], "TRAIN.lr_step", "4.83"),
        (FASTER_RCNN[0], "TEST.max_per_image", 300),
        (FASTER_RCNN[1], "symbol", "resnet_v1_101_rcnn_dcn"),
        (FASTER_RCNN[1], "output_path", "./output/rcnn/voc"),
        (FASTER_RCNN[2], "network.NUM_ANCHORS", 12),
        (FASTER_RCNN[2], "gpus", "0,1,2,3"),
        (FASTER_RCNN[3], "TRAIN.model_prefix", "rcnn_coco"),
        (FASTER_RCNN[3], "TEST.max_per_image", 100),
        (FASTER_RCNN[3], "expected.mAP", 35.0),
        (ORIGINAL[1], "symbol", "resnet_v1_101_rfcn_dcn"),
        (ORIGINAL[1], "TRAIN.model_prefix", "rfcn_voc"),
        (ORIGINAL[1], "expected.mAP@0.5", 82.3),
        (ORIGINAL[2], "dataset.NUM_CLASSES", 81),
        (ORIGINAL[2], "network.ANCHOR_SCALES", (4, 8, 16, 32)),
        (ORIGINAL[3], "TRAIN.lr_step", "5.333"),
        (ORIGINAL[3], "TRAIN.model_prefix", "rfcn_dcn_coco"),
        (ORIGINAL[3], "TEST.max_per_image", 100),
        (ORIGINAL[4], "TRAIN.begin_epoch", 5),
        (ORIGINAL[4], "TRAIN.warmup", False),
        (ORIGINAL[5], "symbol", "deform_conv_demo"),
        (ORIGINAL[6], "TEST.HAS_RPN", False),
        (ORIGINAL[6], "dataset.proposal", "selective_search"),
    ],
)
def test_values_are_those_of_the_original_file(name: str, key: str, value: object) -> None:
    node = load_config(name)
    group, _, leaf = key.partition(".")
    assert (node[group][leaf] if leaf else node[group]) == value


def test_scales_written_flat_become_one_pair() -> None:
    assert load_config(VOC).SCALES == ((600, 1000),)
    assert load_config(VOC, SCALES=[192, 256]).SCALES == ((192, 256),)


def test_every_default_has_a_comment() -> None:
    lines = (configs_root() / "defaults.yaml").read_text().splitlines()
    bare = [line.strip() for line in lines if re.match(r"  \w+:|\w+: \S", line) and "#" not in line]
    assert [line for line in bare if not line.startswith("ALTERNATE")] == []  # its comment stands above it


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"TRAIN__lrr": 1.0}, "unknown key TRAIN.lrr: did you mean TRAIN.lr?"),
        ({"RPN_BATCH_SIZE": 1}, "unknown key RPN_BATCH_SIZE: did you mean TRAIN.RPN_BATCH_SIZE?"),
        ({"nms": 0.5}, "did you mean TEST.NMS?"),
        ({"network__UNIT": [1]}, "did you mean network.UNITS?"),
        ({"TRAIN": 3}, "TRAIN: expected a group of keys, got 3"),
        ({"TRAIN__lr": "1e-3"}, "TRAIN.lr: expected a number, .*write 0.001"),
        ({"TRAIN__FLIP": 1}, "TRAIN.FLIP: expected true or false"),
        ({"TRAIN__end_epoch": True}, "TRAIN.end_epoch: expected a number"),
        ({"TRAIN__end_epoch": None}, "TRAIN.end_epoch: expected a number"),
        ({"network__UNITS": 3}, "network.UNITS: expected a list"),
        ({"network__DEFORM_ROI_POOLING": "yes"}, "expected true or false"),
        ({"SCALES": [600]}, "SCALES: expected"),
        ({"default__frequent": 0}, "default.frequent: expected a whole number from 1 to .*, got 0"),
        ({"default__frequent": 1.5}, "default.frequent: expected a whole number"),
        ({"TRAIN__end_epoch": float("inf")}, "TRAIN.end_epoch: expected a finite number, got inf"),
        ({"network__UNITS": [10**9, 4, 4, 4]}, "network.UNITS: expected 4 whole numbers from 1 to 1000"),
        ({"network__UNITS": [3.5, 4, 4, 4]}, "network.UNITS: expected 4 whole numbers"),
        ({"network__PIXEL_MEANS": ["a", "b", "c"]}, "network.PIXEL_MEANS: expected 3 numbers"),
        ({"network__DEFORM_CONV_UNITS": [1]}, "network.DEFORM_CONV_UNITS: expected 0 to 1000 words"),
        ({"network__NUM_DEFORMABLE_GROUP": 0}, "network.NUM_DEFORMABLE_GROUP: expected a whole number from 1"),
        ({"network__RPN_FEAT_STRIDE": 16.5}, "network.RPN_FEAT_STRIDE: expected a whole number"),
        ({"network__IMAGE_STRIDE": 10**6}, "network.IMAGE_STRIDE: expected a whole number from 0 to 1024"),
        ({"dataset__NUM_CLASSES": 10**9}, "dataset.NUM_CLASSES: expected a whole number"),
        ({"dataset__SCENES": []}, "dataset.SCENES: expected 2 whole numbers"),
        ({"dataset__VOID_LABELS": [300]}, "dataset.VOID_LABELS: expected 0 to 256 whole numbers from 0 to 255"),
        ({"SCALES": [100000, 100000]}, "SCALES: expected at most 134217728 pixels"),
        ({"TEST_SCALES": [[99999, 99999]]}, "TEST_SCALES: expected .* at most 134217728"),
        ({"TRAIN__model_prefix": "../x"}, "TRAIN.model_prefix: expected a file's name without folders"),
        ({"TRAIN__lr_step": "inf"}, "TRAIN.lr_step: expected epochs, .* got 'inf'"),
        ({"TRAIN__lr_step": "4;6"}, "TRAIN.lr_step: expected epochs, .* got '4;6'"),
        (
            {"dataset__CLASS_NAMES": ["cat", False]},
            "dataset.CLASS_NAMES: expected words, got False: write it in quotes",
        ),
    ],
)
def test_wrong_override_is_refused_with_the_remedy(overrides: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_config(VOC, **overrides)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("TRAIN: {lrr: 1}", "unknown key TRAIN.lrr"),
        ("TRAIN:\n  lr: 0.1\n  lr: 0.2\n", "line 3: lr is set twice"),
        (
            "TRAIN:\n  RPN_BBOX_WEIGHTS: [1, 1, 1, 1]\n  RPN_BBOX_WEIGHTS: [1, 1, 1, 2]\n",
            "line 3: RPN_BBOX_WEIGHTS is set twice",
        ),
        ("TRAIN: {lr: [0.1]}", r"TRAIN\.lr: expected a number, .* got \[0\.1\]"),
        ("TRAIN: [", "not readable as YAML"),
        ("- 1\n- 2\n", "expected `KEY: value` lines, got a list"),
        ("_base_: nowhere\n", "_base_ 'nowhere' is not there"),
        ("_base_: mine\n", "does it name itself"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("symbol: !!python/object/apply:os.getcwd []\n", "not readable as YAML"),
        ("[" * 200_000 + "]" * 200_000, "at most 32 deep"),
        ("expected:\n" + "".join(" " * depth + "- \n" for depth in range(1, 400)), "at most 32 deep"),
        ("gpus: 2001-99-99\n", "not readable as YAML"),
        ("gpus: 0b_\n", "not readable as YAML"),
        ("gpus: !!bool x\n", "not readable as YAML"),
        ("gpus: !!timestamp x\n", "not readable as YAML"),
        ("gpus: !!int ''\n", "not readable as YAML"),
        ("? [a]\n: b\n", "line 1: expected a word as a key"),
        ("expected: {1: 2}\n", "expected a word as a key.*got 1"),
        ("expected: [{items: 1}]\n", "expected a word as a key.*got 'items'"),
    ],
)
def test_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=sentence) as error:
        load_config(path)
    assert "mine.yaml" in str(error.value)


def test_unknown_name_lists_near_ones() -> None:
    with pytest.raises(InputError, match="near: rfcn/resnet_v1_101_voc0712_rfcn"):
        load_config("resnet_v1_101_voc0712_rfcn")


def test_nearer_file_wins_over_its_base_and_overrides_over_both(tmp_path: Path) -> None:
    written(tmp_path, "TRAIN: {lr: 0.1, wd: 0.2}\ngpus: '0'\n", "base.yaml")
    path = written(tmp_path, "_base_: base\nTRAIN: {lr: 0.3}\n")
    cfg = load_config(path, TRAIN__momentum=0.5)
    assert (cfg.TRAIN.lr, cfg.TRAIN.wd, cfg.TRAIN.momentum, cfg.gpus) == (0.3, 0.2, 0.5, "0")


def test_null_brings_back_what_the_symbol_says() -> None:
    cfg = load_config(ORIGINAL[1], network__DEFORM_CONV_UNITS=["res5c"])
    assert NetworkSpec.from_config(cfg).deform_conv_units == ("res5c",)
    cfg = load_config(cfg, network__DEFORM_CONV_UNITS=None)
    assert NetworkSpec.from_config(cfg).deform_conv_units == ("res5a", "res5b", "res5c")


def assign(cfg: Config) -> None:
    cfg.TRAIN.lr = 1.0


def write_means(cfg: Config) -> None:
    cfg.network.PIXEL_MEANS[0] = 1.0


@pytest.mark.parametrize(
    "change",
    [
        assign,
        write_means,
        lambda cfg: cfg.TRAIN.__setitem__("lr", 1.0),
        lambda cfg: cfg.TRAIN.update(lr=1.0),
        lambda cfg: cfg.TRAIN.pop("lr"),
        lambda cfg: cfg.setdefault("new", 1),
        lambda cfg: cfg.__delattr__("TRAIN"),
        lambda cfg: cfg.network.UNITS.append(1),
        lambda cfg: cfg.SCALES.clear(),
    ],
)
def test_loaded_configuration_cannot_be_changed(change) -> None:
    cfg = load_config(VOC)
    before = dump(cfg)
    with pytest.raises((TypeError, AttributeError, ValueError)):
        change(cfg)
    assert dump(cfg) == before


def test_copies_stay_frozen_and_equal() -> None:
    cfg = load_config(VOC)
    with pytest.raises(TypeError, match="frozen"):
        copy.deepcopy(cfg).TRAIN.lr = 1.0
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(dump, (cfg,)) == dump(cfg)


def test_dump_is_plain_yaml() -> None:
    assert yaml.safe_load(dump(load_config(VOC)))["network"]["PIXEL_MEANS"] == [103.06, 115.9, 123.15]


def test_a_key_repeated_with_its_value_is_taken_as_in_the_originals_fpn_file(tmp_path: Path) -> None:
    cfg = load_config(written(tmp_path, "TEST:\n  USE_SOFTNMS: true\n  NMS: 0.4\n  # soft nms\n  USE_SOFTNMS: true\n"))
    assert cfg.TEST.USE_SOFTNMS and cfg.TEST.NMS == 0.4
