"""Detection on one image: pixels in, boxes out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcn_tasks.config import Config
from dcn_tasks.detections import Detections
from dcn_tasks.errors import InputError
from dcn_tasks.images import to_network_input
from dcn_tasks.looks import find_objects, passes
from torch_port.models.class_aware_rpn import ClassAwareRPN
from torch_port.models.fold import fold_batch_norm
from torch_port.models.two_stage import TwoStage


@dataclass
class RawOutputs:
    """What the network returned: rois [R, 5], cls_prob [R, C], bbox_pred [R, 4*num_box_classes], im_info [3]."""

    rois: np.ndarray
    cls_prob: np.ndarray
    bbox_pred: np.ndarray
    im_info: np.ndarray


class Detector:
    """Finds objects in an image, at the scales and by the rules of TEST (dcn_tasks.looks).

    Args:
        network: with un-normalised box weights (a converted checkpoint, or torch_port.training.load_for_detection); is
            put into evaluation mode.
        cfg: its configuration; SCALES, TEST_SCALES, PIXEL_MEANS, IMAGE_STRIDE and TEST are read.
        fold: work on a copy whose batch normalisations are folded into its convolutions: faster, the same up to rounding.
    Raises: InputError where TEST.BOX_AVERAGE asks for a second pass of a network that has no second stage.
    """

    def __init__(self, network: TwoStage | ClassAwareRPN, cfg: Config, *, fold: bool = False):
        self.network = fold_batch_norm(network) if fold else network.eval()
        self.cfg = cfg
        self.keeps_maps = passes(cfg) > 1
        self.seen: tuple[Any, np.ndarray] | None = None  # the maps and im_info of the last image
        if self.keeps_maps and not isinstance(network, TwoStage):
            raise InputError(
                f"Detector: TEST.BOX_AVERAGE scores boxes again, and a {type(network).__name__} has no second stage: set "
                "TEST.BOX_AVERAGE_PASSES to 1 for averaging alone"
            )

    def __call__(self, image: np.ndarray, *, score_thresh: float = 1e-3) -> tuple[Detections, RawOutputs]:
        """RGB uint8 [H, W, 3] -> detections in pixels of `image`, and the network's outputs at the first scale."""
        return find_objects(self, image, self.cfg, score_thresh=score_thresh)  # type: ignore[return-value]

    def outputs(self, image: np.ndarray) -> RawOutputs:
        """RGB uint8 [H, W, 3] -> the network's outputs at SCALES."""
        return self.propose(*to_network_input(image, self.cfg))

    def propose(self, data: np.ndarray, im_info: np.ndarray) -> RawOutputs:
        """data [1, 3, h, w] and im_info [1, 3] -> the network's outputs."""
        weight = next(self.network.parameters())
        pixels, info = torch.as_tensor(data).to(weight), torch.as_tensor(im_info).to(weight.device)
        with torch.inference_mode():
            if not self.keeps_maps or not isinstance(self.network, TwoStage):
                return self.arrays(self.network(pixels, info), im_info)
            maps = self.network.features(pixels)
            self.seen = maps, im_info
            rois = self.network.propose(maps, info)
            return self.arrays((rois, *self.network.score(maps, rois)), im_info)

    def score(self, rois: np.ndarray) -> RawOutputs:
        """RoIs [R, 5] in the image that `propose` saw last -> outputs of the second stage for them."""
        assert self.seen is not None and isinstance(self.network, TwoStage), (
            "score() follows propose() of a configuration with TEST.BOX_AVERAGE"
        )
        maps, im_info = self.seen
        weight = next(self.network.parameters())
        wide = torch.promote_types(weight.dtype, torch.float32)  # boxes in half precision would be off by pixels
        given = torch.as_tensor(rois).to(weight.device, wide)
        with torch.inference_mode():
            return self.arrays((given, *self.network.score(maps, given)), im_info)

    @staticmethod
    def arrays(outputs: tuple[Tensor, ...], im_info: np.ndarray) -> RawOutputs:
        rois, cls_prob, bbox_pred = (
            output.to(torch.promote_types(output.dtype, torch.float32)).cpu().numpy()  # NumPy has no bfloat16
            for output in outputs
        )
        return RawOutputs(rois, cls_prob, bbox_pred, im_info[0])
