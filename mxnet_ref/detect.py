"""Detection on one image with the original operators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mxnet as mx
import numpy as np

from dcn_tasks.config import Config, load_config
from dcn_tasks.detections import Detections
from dcn_tasks.images import to_network_input
from dcn_tasks.looks import find_objects, passes
from dcn_tasks.streams import Draws
from mxnet_ref.build import build_symbol
from mxnet_ref.executor import Arrays, BoundGraph
from mxnet_ref.operators import set_draws
from mxnet_ref.second_stage import ROIS, second_stage


@dataclass(frozen=True)
class RawOutputs:
    """rois [R, 5], cls_prob [R, C], bbox_pred [R, 4K]; inputs: data [1, 3, h, w] and im_info [1, 3]."""

    rois: np.ndarray
    cls_prob: np.ndarray
    bbox_pred: np.ndarray
    inputs: dict[str, np.ndarray]


class Detector:
    """Finds objects in images, at the scales and by the rules of TEST (dcn_tasks.looks).

    Args:
        config: a name under configs/, a path, or a loaded configuration.
        arg, aux: parameters with un-normalised box weights: load_checkpoint(..., process=True), or `detection_weights`.
        dtype: "float32" or "float64".
    Raises: InputError for a parameter that is missing, or where TEST.BOX_AVERAGE asks for a second pass of a network that
        has no second stage.
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
        symbol = build_symbol(self.cfg, False, dtype=dtype)
        second = second_stage(symbol) if passes(self.cfg) > 1 else None
        self.maps: tuple[str, ...] = second.maps if second else ()
        self.graph = BoundGraph(with_maps(symbol, self.maps), arg, aux, dtype=dtype)
        self.second_graph = BoundGraph(second.symbol, arg, aux, dtype=dtype) if second else None
        self.seen: Arrays = {}  # maps of the last image, for the second stage
        self.inputs: Arrays = {}

    def __call__(self, image: np.ndarray, *, score_thresh: float = 1e-3) -> tuple[Detections, RawOutputs]:
        """RGB uint8 [H, W, 3] -> detections in pixels of `image`, and the network's outputs at the first scale."""
        return find_objects(self, image, self.cfg, score_thresh=score_thresh)

    def outputs(self, image: np.ndarray) -> RawOutputs:
        """RGB uint8 [H, W, 3] -> the network's outputs at SCALES."""
        return self.propose(*to_network_input(image, self.cfg))

    def propose(self, data: np.ndarray, im_info: np.ndarray) -> RawOutputs:
        """data [1, 3, h, w] and im_info [1, 3] -> the network's outputs. Images of one size share an executor."""
        self.inputs = {"data": data, "im_info": im_info}
        set_draws(Draws(0, 0))
        outputs = self.graph.outputs(self.inputs)
        count = len(outputs) - len(self.maps)
        self.seen = dict(zip(self.maps, outputs[count:], strict=True))
        rois, cls_prob, bbox_pred = outputs[count - 3 : count]  # the demos' graphs put offsets before them
        return RawOutputs(rois, cls_prob[0], bbox_pred[0], self.inputs)

    def score(self, rois: np.ndarray) -> RawOutputs:
        """RoIs [R, 5] in the image that `propose` saw last -> outputs of the second stage for them."""
        assert self.second_graph is not None and self.seen, (
            "score() follows propose() of a configuration with TEST.BOX_AVERAGE"
        )
        cls_prob, bbox_pred = self.second_graph.outputs({**self.seen, ROIS: rois})
        return RawOutputs(rois, cls_prob[0], bbox_pred[0], self.inputs)


def with_maps(symbol: mx.sym.Symbol, maps: Sequence[str]) -> mx.sym.Symbol:
    """A test graph with the maps that the second stage reads as further outputs."""
    internals = symbol.get_internals()
    return mx.sym.Group([*symbol, *(internals[f"{name}_output"] for name in maps)]) if maps else symbol
