"""Detection on one image with the original operators."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mxnet as mx
import numpy as np

from dcn_tasks.config import Config, load_config
from dcn_tasks.detections import Detections, detections
from dcn_tasks.images import to_network_input
from dcn_tasks.streams import Draws
from mxnet_ref.build import build_symbol
from mxnet_ref.executor import bind, run
from mxnet_ref.operators import set_draws


@dataclass(frozen=True)
class RawOutputs:
    """rois [R, 5], cls_prob [R, C], bbox_pred [R, 4K]; inputs: data [1, 3, h, w] and im_info [1, 3]."""

    rois: np.ndarray
    cls_prob: np.ndarray
    bbox_pred: np.ndarray
    inputs: dict[str, np.ndarray]


class Detector:
    """Finds objects in images.

    Args:
        config: a name under configs/, a path, or a loaded configuration.
        arg, aux: parameters with un-normalised box weights: load_checkpoint(..., process=True), or `detection_weights`.
        dtype: "float32" or "float64".
    Raises: InputError for a parameter that is missing.
    """

    def __init__(
        self,
        config: str | Path | Config,
        arg: Mapping[str, np.ndarray],
        aux: Mapping[str, np.ndarray],
        *,
        dtype: str = "float32",
    ):
        self.cfg = load_config(config)
        self.dtype = dtype
        self.symbol = build_symbol(self.cfg, False, dtype=dtype)
        self.arg, self.aux = dict(arg), dict(aux)
        self.executor: mx.executor.Executor | None = None
        self.shape: tuple[int, ...] | None = None

    def outputs(self, image: np.ndarray) -> RawOutputs:
        """RGB uint8 [H, W, 3] -> the network's outputs. Images of one size share an executor."""
        data, im_info = to_network_input(image, self.cfg)
        inputs = {"data": data, "im_info": im_info}
        if self.executor is None or data.shape != self.shape:
            self.executor, self.shape = bind(self.symbol, self.arg, self.aux, inputs, dtype=self.dtype), data.shape
        for name, value in inputs.items():
            self.executor.arg_dict[name][:] = value
        set_draws(Draws(0, 0))
        rois, cls_prob, bbox_pred = run(self.executor)[-3:]  # the demos' graphs put offsets before them
        return RawOutputs(rois, cls_prob[0], bbox_pred[0], inputs)

    def __call__(self, image: np.ndarray, *, score_thresh: float = 1e-3) -> tuple[Detections, RawOutputs]:
        """RGB uint8 [H, W, 3] -> detections in pixels of `image`, and the network's outputs."""
        raw, test = self.outputs(image), self.cfg.TEST
        found = detections(
            raw.rois,
            raw.cls_prob,
            raw.bbox_pred,
            raw.inputs["im_info"],
            class_agnostic=self.cfg.CLASS_AGNOSTIC,
            score_thresh=score_thresh,
            nms_thresh=test.NMS,
            max_per_image=test.max_per_image,
        )
        return found, raw
