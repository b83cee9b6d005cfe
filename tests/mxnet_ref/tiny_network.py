"""The smallest network that has every kind of node, and batches for it."""

import numpy as np

from dcn_tasks.config import Config, load_config
from dcn_tasks.scenes import SceneSource

TINY = {
    "SCALES": [96, 128],
    "network__UNITS": [1, 1, 1, 1],
    "network__BASE_WIDTH": 8,
    "network__HEAD_WIDTH": 12,
    "network__RPN_WIDTH": 12,
    "network__ANCHOR_SCALES": [1, 2],
    "network__NUM_ANCHORS": 6,
    "network__POOLED_SIZE": 3,
    "TRAIN__RPN_POST_NMS_TOP_N": 12,
    "TEST__RPN_POST_NMS_TOP_N": 12,
    "TRAIN__BATCH_ROIS_OHEM": 8,
}


def tiny(name: str = "demo/narrow_rfcn_dcn", **overrides) -> Config:
    return load_config(name, **{**TINY, **overrides})


def scene(index: int = 0):
    return SceneSource(7, 96, 128, max_objects=2, min_side=30, max_side=50)[index]


def photo() -> np.ndarray:
    """RGB uint8 [96, 128, 3]."""
    return scene().image
