"""Semantic segmentation of one image: pixels in, a label map out."""

from typing import NamedTuple

import numpy as np
import torch

from dcn_tasks.config import Config
from dcn_tasks.images import to_network_input
from dcn_tasks.segmentation import image_labels
from torch_port.models.deeplab import DeepLab
from torch_port.models.fold import fold_batch_norm


class Segmentation(NamedTuple):
    """labels: uint8 [H, W], at the size of the image. prob: [1, C, h, w], at the network's."""

    labels: np.ndarray
    prob: np.ndarray


class Segmenter:
    """Says of every pixel which class it shows.

    Args:
        network: is put into evaluation mode. cfg: its configuration; SCALES, PIXEL_MEANS and IMAGE_STRIDE are read.
        fold: work on a copy whose batch normalisations are folded into its convolutions: faster, the same up to rounding.
    """

    def __init__(self, network: DeepLab, cfg: Config, *, fold: bool = False):
        self.network = fold_batch_norm(network) if fold else network.eval()
        self.cfg = cfg

    def __call__(self, image: np.ndarray) -> Segmentation:
        """RGB uint8 [H, W, 3] -> its labels, enlarged by the nearest pixel as in the original's evaluation of Cityscapes."""
        data, _ = to_network_input(image, self.cfg)
        weight = self.network.head.fc6.weight
        with torch.inference_mode():
            prob = self.network(torch.as_tensor(data).to(weight)).float().cpu().numpy()
        return Segmentation(image_labels(prob, image, self.cfg), prob)
