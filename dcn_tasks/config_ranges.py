"""What a configuration's numbers and lists may hold. The most of each keeps a mistyped number from filling the memory."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dcn_tasks.errors import InputError

MANY = 10**9
MAX_PIXELS = 1 << 27  # of an image, in the network and in its file

# Whole numbers: the least and the most.
WHOLE: dict[str, tuple[int, int]] = {
    "default.frequent": (1, MANY),
    "network.pretrained_epoch": (0, MANY),
    "network.IMAGE_STRIDE": (0, 1024),
    "network.RPN_FEAT_STRIDE": (1, 1024),
    "network.RCNN_FEAT_STRIDE": (1, 1024),
    "network.NUM_ANCHORS": (1, 1000),
    "network.BASE_WIDTH": (1, 512),
    "network.HEAD_WIDTH": (1, 16384),
    "network.FC_WIDTH": (1, 16384),
    "network.FPN_LEVEL_SIDE": (1, 16384),
    "network.RPN_WIDTH": (0, 16384),
    "network.POOLED_SIZE": (1, 32),
    "network.RES5_DILATION": (1, 64),
    "network.NUM_DEFORMABLE_GROUP": (1, 4096),
    "network.OFFSET_DILATION": (1, 64),
    "dataset.NUM_CLASSES": (1, 10_000),
    "TRAIN.warmup_step": (0, MANY),
    "TRAIN.begin_epoch": (0, MANY),
    "TRAIN.BATCH_IMAGES": (1, 1024),
    "TRAIN.CROP_HEIGHT": (1, 16384),
    "TRAIN.CROP_WIDTH": (1, 16384),
    "TRAIN.BATCH_ROIS": (-1, 1_000_000),
    "TRAIN.BATCH_ROIS_OHEM": (-1, 1_000_000),
    "TRAIN.RPN_BATCH_SIZE": (1, 1_000_000),
    "TRAIN.RPN_PRE_NMS_TOP_N": (1, 1_000_000),
    "TRAIN.RPN_POST_NMS_TOP_N": (1, 1_000_000),
    "TEST.RPN_PRE_NMS_TOP_N": (1, 1_000_000),
    "TEST.RPN_POST_NMS_TOP_N": (1, 1_000_000),
    "TEST.BOX_AVERAGE_PASSES": (1, 100),
    "TEST.max_per_image": (-1, 1_000_000),
}

# Lists: what each element is, and the least and the most of it and of their number.
LISTS: dict[str, tuple[type, tuple[float, float], tuple[int, int]]] = {
    "network.PIXEL_MEANS": (float, (-1e6, 1e6), (3, 3)),
    "network.RPN_FEAT_STRIDE": (int, (1, 1024), (1, 8)),
    "network.FIXED_PARAMS": (str, (0, 0), (0, 1000)),
    "network.FIXED_PARAMS_SHARED": (str, (0, 0), (0, 1000)),
    "network.ANCHOR_SCALES": (float, (1e-3, 1e6), (1, 100)),
    "network.ANCHOR_RATIOS": (float, (1e-3, 1e3), (1, 100)),
    "network.UNITS": (int, (1, 1000), (4, 4)),
    "network.DEFORM_CONV_UNITS": (str, (0, 0), (0, 1000)),
    "dataset.VOID_LABELS": (int, (0, 255), (0, 256)),
    "dataset.SCENES": (int, (0, MANY), (2, 2)),
    "TRAIN.BBOX_WEIGHTS": (float, (-1e6, 1e6), (4, 4)),
    "TRAIN.RPN_BBOX_WEIGHTS": (float, (-1e6, 1e6), (4, 4)),
    "TRAIN.BBOX_MEANS": (float, (-1e6, 1e6), (4, 4)),
    "TRAIN.BBOX_STDS": (float, (1e-6, 1e6), (4, 4)),
}
KINDS = {int: "whole numbers", float: "numbers", str: "words"}


def refuse_out_of_range(values: Mapping[str, Any], source: str) -> None:
    """Raises: InputError for the first number or list that is none of those above, and for any number that is not finite."""
    for name, value in leaves(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{source}: {name}: expected a finite number, got {value}")
        if name in LISTS and isinstance(value, Sequence):
            refuse_list(value, *LISTS[name], f"{source}: {name}")
        elif name in WHOLE and value is not None and not is_one(value, int, WHOLE[name]):
            least, most = WHOLE[name]
            raise InputError(f"{source}: {name}: expected a whole number from {least} to {most}, got {value!r}")


def refuse_list(value: Sequence, kind: type, ends: tuple[float, float], counts: tuple[int, int], where: str) -> None:
    """Raises: InputError unless the list holds so many of a kind."""
    if counts[0] <= len(value) <= counts[1] and all(is_one(each, kind, ends) for each in value):
        return
    count = f"{counts[0]}" if counts[0] == counts[1] else f"{counts[0]} to {counts[1]}"
    span = "" if kind is str else f" from {ends[0]:g} to {ends[1]:g}"
    raise InputError(f"{where}: expected {count} {KINDS[kind]}{span}, got {list(value)!r:.200}")


def is_one(value: object, kind: type, ends: tuple[float, float]) -> bool:
    """Whether a value is of a kind, text or a number within its ends."""
    if kind is str:
        return isinstance(value, str)
    right = isinstance(value, int) if kind is int else isinstance(value, int | float)
    return right and not isinstance(value, bool) and ends[0] <= value <= ends[1]  # type: ignore[operator]


def leaves(values: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """(full name, value) of every key that is no group."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{group}{key}.")
        else:
            yield f"{group}{key}", value
