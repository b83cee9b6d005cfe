"""Detection on one image: pixels in, boxes out."""

from dataclasses import dataclass

import numpy as np
import torch

from dcn_tasks.config import Config
from dcn_tasks.detections import Detections, detections
from dcn_tasks.images import to_network_input
from torch_port.models.fold import fold_batch_norm
from torch_port.models.rfcn import RFCN


@dataclass
class RawOutputs:
    """What the network returned: rois [R, 5], cls_prob [R, C], bbox_pred [R, 4*num_box_classes], im_info [3]."""

    rois: np.ndarray
    cls_prob: np.ndarray
    bbox_pred: np.ndarray
    im_info: np.ndarray


class Detector:
    """Finds objects in an image.

    Args:
        network: with un-normalised box weights (a converted checkpoint, or torch_port.training.load_for_detection); is
            put into evaluation mode.
        cfg: its configuration; SCALES, PIXEL_MEANS, IMAGE_STRIDE and TEST are read.
        fold: work on a copy whose batch normalisations are folded into its convolutions: faster, the same up to rounding.
    """

    def __init__(self, network: RFCN, cfg: Config, *, fold: bool = False):
        self.network = fold_batch_norm(network) if fold else network.eval()
        self.cfg = cfg

    def __call__(self, image: np.ndarray, *, score_thresh: float = 1e-3) -> tuple[Detections, RawOutputs]:
        """RGB uint8 [H, W, 3] -> detections in pixels of `image`, and the network's outputs."""
        raw = self.outputs(image)
        test = self.cfg.TEST
        found = detections(
            raw.rois,
            raw.cls_prob,
            raw.bbox_pred,
            raw.im_info.tolist(),
            class_agnostic=self.cfg.CLASS_AGNOSTIC,
            score_thresh=score_thresh,
            nms_thresh=test.NMS,
            max_per_image=test.max_per_image,
        )
        return found, raw

    def outputs(self, image: np.ndarray) -> RawOutputs:
        """RGB uint8 [H, W, 3] -> the network's outputs."""
        data, im_info = to_network_input(image, self.cfg)
        weight = self.network.rpn.conv.weight
        with torch.inference_mode():
            outputs = self.network(torch.as_tensor(data).to(weight), torch.as_tensor(im_info).to(weight.device))
        wide = torch.promote_types(weight.dtype, torch.float32)  # NumPy has no bfloat16
        rois, cls_prob, bbox_pred = (output.to(wide).cpu().numpy() for output in outputs)
        return RawOutputs(rois, cls_prob, bbox_pred, im_info[0])
