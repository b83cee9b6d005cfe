"""The reference: the original networks on the original MXNet operators."""

import os

import mxnet_ref.role  # noqa: F401  before anything imports MXNet

os.environ.setdefault("MXNET_SUBGRAPH_BACKEND", "NONE")  # oneDNN fusion breaks binding of internal outputs
os.environ.setdefault("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")

from mxnet_ref.build import build_symbol
from mxnet_ref.calibration import calibrated_init
from mxnet_ref.checkpoint import detection_weights, load_checkpoint, save_checkpoint, with_test_copies
from mxnet_ref.detect import Detector
from mxnet_ref.init import fixed_parameters, init_params, learning_rate_multipliers
from mxnet_ref.segment import Segmenter
from mxnet_ref.trace import trace
from mxnet_ref.training import scene_batches, train
from mxnet_ref.versions import versions

__all__ = [
    "Detector",
    "Segmenter",
    "build_symbol",
    "calibrated_init",
    "detection_weights",
    "fixed_parameters",
    "init_params",
    "learning_rate_multipliers",
    "load_checkpoint",
    "save_checkpoint",
    "scene_batches",
    "trace",
    "train",
    "versions",
    "with_test_copies",
]
