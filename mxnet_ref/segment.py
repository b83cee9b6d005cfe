"""Semantic segmentation of one image with the original operators."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dcn_tasks.config import Config, load_config
from dcn_tasks.segmentation import image_labels
from dcn_tasks.task import SEGMENTATION
from mxnet_ref.build import build_symbol
from mxnet_ref.executor import BoundGraph


class Segmenter:
    """Says of every pixel which class it shows.

    Args:
        config: a name under configs/, a path, or a loaded configuration. arg, aux: parameters.
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
        self.graph = BoundGraph(build_symbol(self.cfg, False, dtype=dtype), arg, aux, dtype=dtype)

    def prob(self, image: np.ndarray) -> np.ndarray:
        """RGB uint8 [H, W, 3] -> class probabilities [1, C, h, w]. Images of one size share an executor."""
        return self.graph.outputs(SEGMENTATION.inputs(image, self.cfg))[0]

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 [H, W, 3] -> labels uint8 [H, W], enlarged by the nearest pixel as in the original; and `prob`."""
        prob = self.prob(image)
        return image_labels(prob, image, self.cfg), prob
