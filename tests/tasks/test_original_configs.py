"""Every key of the original's 18 configuration files, one by one, and every default under them.

What is expected is written out here from the specification (sections 2.1 to 2.4 and 11), not read from `configs/`.
"""

import copy

import pytest

from dcn_tasks.config import load_config, to_plain

MEANS = [103.06, 115.9, 123.15]
FROZEN = ["conv1", "bn_conv1", "res2", "bn2", "gamma", "beta"]
FROZEN_SHARED = ["conv1", "bn_conv1", "res2", "bn2", "res3", "bn3", "res4", "bn4", "gamma", "beta"]
ROUNDS = ("rpn1", "rfcn1", "rpn2", "rfcn2", "rpn3")  # of alternate training, all at rate 0 by default
SHARED = {  # by all detection files, over the defaults of the original's config.py
    "MXNET_VERSION": "mxnet",
    "output_path": None,  # of each file, as the next ones
    "symbol": None,
    "gpus": None,
    "CLASS_AGNOSTIC": True,
    "SCALES": [[600, 1000]],
    "default": {"frequent": 100, "kvstore": "device"},
    "network": {
        "pretrained": "./model/pretrained_model/resnet_v1_101",
        "pretrained_epoch": 0,
        "PIXEL_MEANS": MEANS,
        "IMAGE_STRIDE": 0,
        "RPN_FEAT_STRIDE": 16,
        "RCNN_FEAT_STRIDE": 16,
        "FIXED_PARAMS": FROZEN,
        "FIXED_PARAMS_SHARED": FROZEN_SHARED,
        "ANCHOR_SCALES": [8, 16, 32],
        "ANCHOR_RATIOS": [0.5, 1, 2],
        "NUM_ANCHORS": 9,
    },
    "dataset": {
        "dataset": "PascalVOC",
        "image_set": "2007_trainval+2012_trainval",
        "test_image_set": "2007_test",
        "root_path": "./data",
        "dataset_path": "./data/VOCdevkit",
        "NUM_CLASSES": 21,
        "proposal": "rpn",
    },
    "TRAIN": {
        "lr": 0.0005,
        "lr_step": "4.83",
        "lr_factor": 0.1,
        "warmup": True,
        "warmup_lr": 0.00005,
        "warmup_step": 1000,
        "momentum": 0.9,
        "wd": 0.0005,
        "begin_epoch": 0,
        "end_epoch": 7,
        "model_prefix": None,
        "ALTERNATE": {
            "RPN_BATCH_IMAGES": 0,
            "RCNN_BATCH_IMAGES": 0,
            **{
                f"{name}_{key}": value for name in ROUNDS for key, value in (("lr", 0.0), ("lr_step", ""), ("epoch", 0))
            },
        },
        "RESUME": False,
        "FLIP": True,
        "SHUFFLE": True,
        "ENABLE_OHEM": True,
        "BATCH_IMAGES": 1,
        "END2END": True,
        "ASPECT_GROUPING": True,
        "BATCH_ROIS": -1,
        "BATCH_ROIS_OHEM": 128,
        "FG_FRACTION": 0.25,
        "FG_THRESH": 0.5,
        "BG_THRESH_HI": 0.5,
        "BG_THRESH_LO": 0.0,
        "BBOX_REGRESSION_THRESH": 0.5,
        "BBOX_WEIGHTS": [1.0] * 4,
        "RPN_BATCH_SIZE": 256,
        "RPN_FG_FRACTION": 0.5,
        "RPN_POSITIVE_OVERLAP": 0.7,
        "RPN_NEGATIVE_OVERLAP": 0.3,
        "RPN_CLOBBER_POSITIVES": False,
        "RPN_BBOX_WEIGHTS": [1.0] * 4,
        "RPN_POSITIVE_WEIGHT": -1.0,
        "CXX_PROPOSAL": False,
        "RPN_NMS_THRESH": 0.7,
        "RPN_PRE_NMS_TOP_N": 6000,
        "RPN_POST_NMS_TOP_N": 300,
        "RPN_MIN_SIZE": 0,
        "BBOX_NORMALIZATION_PRECOMPUTED": True,
        "BBOX_MEANS": [0.0] * 4,
        "BBOX_STDS": [0.1, 0.1, 0.2, 0.2],
    },
    "TEST": {
        "HAS_RPN": True,
        "BATCH_IMAGES": 1,
        "CXX_PROPOSAL": False,
        "RPN_NMS_THRESH": 0.7,
        "RPN_PRE_NMS_TOP_N": 6000,
        "RPN_POST_NMS_TOP_N": 300,
        "RPN_MIN_SIZE": 0,
        "PROPOSAL_NMS_THRESH": 0.7,
        "PROPOSAL_PRE_NMS_TOP_N": 20000,
        "PROPOSAL_POST_NMS_TOP_N": 2000,
        "PROPOSAL_MIN_SIZE": 0,
        "NMS": 0.3,
        "max_per_image": 300,
        "test_epoch": 7,
    },
}
COCO = {
    "network.ANCHOR_SCALES": [4, 8, 16, 32],
    "network.NUM_ANCHORS": 12,
    "dataset.dataset": "coco",
    "dataset.image_set": "train2014+val2014",
    "dataset.test_image_set": "test-dev2015",
    "dataset.dataset_path": "./data/coco",
    "dataset.NUM_CLASSES": 81,
    "TRAIN.lr_step": "5.333",
    "TRAIN.end_epoch": 8,
    "TEST.test_epoch": 8,
    "TEST.max_per_image": 100,
}
FASTER = {
    "gpus": "0,1,2,3",
    "CLASS_AGNOSTIC": False,
    "TRAIN.ENABLE_OHEM": False,
    "TRAIN.BATCH_ROIS": 128,
    "TRAIN.BG_THRESH_LO": 0.1,
}
FPN = {
    **COCO,
    "output_path": "./output/fpn/coco",
    "gpus": "0,1,2,3,4,5,6,7",
    "CLASS_AGNOSTIC": False,
    "SCALES": [[800, 1280]],
    "TEST_SCALES": [[480, 800], [576, 900], [688, 1100], [800, 1200], [1200, 1600], [1400, 2000]],
    "network.IMAGE_STRIDE": 32,
    "network.RPN_FEAT_STRIDE": [4, 8, 16, 32, 64],
    "network.ANCHOR_SCALES": [8],
    "network.NUM_ANCHORS": 3,
    "dataset.image_set": "train2014+valminusminival2014",
    "dataset.test_image_set": "minival2014",
    "TRAIN.lr": 0.01,
    "TRAIN.lr_step": "4,6",
    "TRAIN.warmup_lr": 0.001,
    "TRAIN.warmup_step": 250,
    "TRAIN.wd": 0.0001,
    "TRAIN.end_epoch": 7,
    "TRAIN.model_prefix": "fpn_coco",
    "TRAIN.BATCH_ROIS_OHEM": 512,
    "TRAIN.RPN_PRE_NMS_TOP_N": 12000,
    "TRAIN.RPN_POST_NMS_TOP_N": 2000,
    "TEST.RPN_PRE_NMS_TOP_N": 12000,
    "TEST.RPN_POST_NMS_TOP_N": 2000,
    "TEST.USE_SOFTNMS": True,
    "TEST.SOFTNMS_THRESH": 0.6,
    "TEST.test_epoch": 7,
}


def named(symbol: str, output_path: str, model_prefix: str, gpus: str = "0,1,2,3") -> dict[str, object]:
    return {"symbol": symbol, "output_path": output_path, "TRAIN.model_prefix": model_prefix, "gpus": gpus}


RFCN, RFCN_DCN, EIGHT = "resnet_v1_101_rfcn", "resnet_v1_101_rfcn_dcn", "0,1,2,3,4,5,6,7"
DETECTION = {
    "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem": named(RFCN, "./output/rfcn/voc", "rfcn_voc"),
    "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem": named(RFCN_DCN, "./output/rfcn_dcn/voc", "rfcn_voc"),
    "rfcn/resnet_v1_101_coco_trainval_rfcn_end2end_ohem": COCO | named(RFCN, "./output/rfcn/coco", "rfcn_coco", EIGHT),
    "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem": COCO
    | named(RFCN_DCN, "./output/rfcn_dcn/coco", "rfcn_dcn_coco", EIGHT),
    "rfcn/rfcn_coco_demo": COCO
    | named(RFCN, "./output/rfcn", "e2e", "0")
    | {"default.frequent": 20, "TRAIN.warmup": False, "TRAIN.RESUME": True, "TRAIN.begin_epoch": 5},
    "rfcn/deform_conv_demo": named("deform_conv_demo", "./output/rfcn", "rfcn_voc", "0") | {"TRAIN.end_epoch": 8},
    "rfcn/deform_psroi_demo": named("deform_psroi_demo", "./output/rfcn", "rfcn_voc", "0")
    | {
        "TRAIN.end_epoch": 8,
        "TRAIN.END2END": False,
        "TEST.HAS_RPN": False,
        "dataset.proposal": "selective_search",
    },
    "faster_rcnn/resnet_v1_101_voc0712_rcnn_end2end": named("resnet_v1_101_rcnn", "./output/rcnn/voc", "rcnn_voc")
    | FASTER,
    "faster_rcnn/resnet_v1_101_voc0712_rcnn_dcn_end2end": named(
        "resnet_v1_101_rcnn_dcn", "./output/rcnn/voc", "rcnn_voc"
    )
    | FASTER,
    "faster_rcnn/resnet_v1_101_coco_trainval_rcnn_end2end": COCO
    | named("resnet_v1_101_rcnn", "./output/rcnn/coco", "rcnn_coco")
    | FASTER,
    "faster_rcnn/resnet_v1_101_coco_trainval_rcnn_dcn_end2end": COCO
    | named("resnet_v1_101_rcnn_dcn", "./output/rcnn/coco", "rcnn_coco")
    | FASTER,
    "fpn/resnet_v1_101_coco_trainval_fpn_end2end_ohem": FPN | {"symbol": "resnet_v1_101_fpn_rcnn"},
    "fpn/resnet_v1_101_coco_trainval_fpn_dcn_end2end_ohem": FPN | {"symbol": "resnet_v1_101_fpn_dcn_rcnn"},
}
DEEPLAB_SHARED = {
    "MXNET_VERSION": "mxnet",
    "output_path": None,
    "symbol": None,
    "gpus": "0",
    "SCALES": [[360, 600]],
    "default": {"frequent": 10, "kvstore": "device"},
    "network": {
        "pretrained": "./model/pretrained_model/resnet_v1_101",
        "pretrained_epoch": 0,
        "PIXEL_MEANS": MEANS,
        "IMAGE_STRIDE": 0,
        "FIXED_PARAMS": FROZEN,
        "FIXED_PARAMS_SHARED": FROZEN_SHARED,
    },
    "dataset": {
        "dataset": "PascalVOC",
        "image_set": "2012_train_seg",
        "test_image_set": "2012_val_seg",
        "root_path": "./data/",
        "dataset_path": "./data/VOCdevkit2012/",
        "NUM_CLASSES": 21,
        "annotation_prefix": "gtFine",
    },
    "TRAIN": {
        "lr": 0.0005,
        "lr_step": "8",
        "warmup": False,
        "warmup_lr": 0.00005,
        "warmup_step": 1000,
        "momentum": 0.9,
        "wd": 0.0005,
        "begin_epoch": 0,
        "end_epoch": 12,
        "model_prefix": None,
        "RESUME": False,
        "FLIP": True,
        "SHUFFLE": True,
        "BATCH_IMAGES": 1,
        "ENABLE_CROP": False,
        "CROP_HEIGHT": 768,
        "CROP_WIDTH": 1024,
    },
    "TEST": {"BATCH_IMAGES": 1, "test_epoch": 12},
}
CITYSCAPES = {
    "output_path": "./output/cityscape",
    "SCALES": [[1024, 2048]],
    "dataset.dataset": "CityScape",
    "dataset.image_set": "leftImg8bit_train",
    "dataset.test_image_set": "leftImg8bit_val",
    "dataset.dataset_path": "./data/cityscapes/",
    "dataset.NUM_CLASSES": 19,
    "TRAIN.lr_step": "40.336",
    "TRAIN.warmup": True,
    "TRAIN.end_epoch": 53,
    "TRAIN.ENABLE_CROP": True,
    "TEST.test_epoch": 53,
}
PREFIX = "deeplab_resnet_v1_101"
PLAIN, DEFORMABLE = {"symbol": "resnet_v1_101_deeplab"}, {"symbol": "resnet_v1_101_deeplab_dcn"}
VOC12 = {"output_path": "./output/voc12"}
SEGMENTATION = {
    f"deeplab/{PREFIX}_{data}_segmentation_{kind}": {
        **values,
        **symbol,
        "TRAIN.model_prefix": f"{PREFIX}_{data}_segmentation_{kind}",
    }
    for data, values in (("cityscapes", CITYSCAPES), ("voc12", VOC12))
    for kind, symbol in (("base", PLAIN), ("dcn", DEFORMABLE))
}
SEGMENTATION["deeplab/deeplab_cityscapes_demo"] = {
    **CITYSCAPES,
    **PLAIN,
    "TRAIN.model_prefix": f"{PREFIX}_cityscapes_segmentation_dcn",
}
FILES = [(name, SHARED, own) for name, own in DETECTION.items()]
FILES += [(name, DEEPLAB_SHARED, own) for name, own in SEGMENTATION.items()]


def expected(shared: dict, own: dict[str, object]) -> dict:
    """The shared values with a file's own over them, named GROUP.KEY."""
    values = copy.deepcopy(shared)
    for name, value in own.items():
        group, _, key = name.partition(".")
        if key:
            values[group][key] = value
        else:
            values[group] = value
    return values


def of_keys(values: dict, keys: dict) -> dict:
    """Those of `values` that `keys` has, group by group; a missing one as None."""
    return {
        key: of_keys(values.get(key, {}), inner) if isinstance(inner, dict) else values.get(key)
        for key, inner in keys.items()
    }


def test_there_are_eighteen() -> None:
    assert len(FILES) == 18


@pytest.mark.parametrize(("name", "shared", "own"), FILES, ids=[name for name, *_ in FILES])
def test_every_key_has_the_originals_value(name: str, shared: dict, own: dict) -> None:
    wanted = expected(shared, own)
    assert None not in (wanted["symbol"], wanted["output_path"], wanted["TRAIN"]["model_prefix"])
    assert of_keys(to_plain(load_config(name)), wanted) == wanted


def test_a_file_that_says_nothing_has_the_defaults_of_the_originals_code(tmp_path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    found = to_plain(load_config(tmp_path / "empty.yaml"))
    differing = {
        "MXNET_VERSION": "",
        "output_path": "",
        "symbol": "",
        "gpus": "",
        "default.frequent": 20,
        "network.pretrained": "",
        "network.PIXEL_MEANS": [0, 0, 0],
        "network.FIXED_PARAMS": ["gamma", "beta"],
        "network.FIXED_PARAMS_SHARED": ["gamma", "beta"],
        "dataset.image_set": "2007_trainval",
        "TRAIN.lr": 0.0,
        "TRAIN.lr_step": "",
        "TRAIN.warmup": False,
        "TRAIN.warmup_lr": 0.0,
        "TRAIN.warmup_step": 0,
        "TRAIN.end_epoch": 0,
        "TRAIN.model_prefix": "",
        "TRAIN.ENABLE_OHEM": False,
        "TRAIN.BATCH_IMAGES": 2,
        "TRAIN.END2END": False,
        "TRAIN.BATCH_ROIS": 128,
        "TRAIN.CXX_PROPOSAL": True,
        "TRAIN.RPN_PRE_NMS_TOP_N": 12000,
        "TRAIN.RPN_POST_NMS_TOP_N": 2000,
        "TRAIN.RPN_MIN_SIZE": 16,
        "TRAIN.BBOX_NORMALIZATION_PRECOMPUTED": False,
        "TEST.HAS_RPN": False,
        "TEST.CXX_PROPOSAL": True,
        "TEST.RPN_MIN_SIZE": 16,
        "TEST.PROPOSAL_MIN_SIZE": 16,
        "TEST.test_epoch": 0,
    }
    wanted = expected(SHARED, differing)
    assert of_keys(found, wanted) == wanted
