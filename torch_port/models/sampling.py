"""Which RoIs a training step uses, and what they should predict. No gradient flows through any of it."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dcn_tasks.ohem import select_hard_rois
from dcn_tasks.roi_targets import sample_rois
from dcn_tasks.streams import Draws


class RoISamples(NamedTuple):
    """rois [R, 5]; labels [R]; bbox_targets and bbox_weights [R, 4*num_box_classes]."""

    rois: Tensor
    labels: Tensor
    bbox_targets: Tensor
    bbox_weights: Tensor


class HardRoIs(NamedTuple):
    """labels [R], -1 where the RoI is left out; bbox_weights [R, 4*num_box_classes], 0 there."""

    labels: Tensor
    bbox_weights: Tensor


def as_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


class ProposalTarget(nn.Module):
    """Adds the ground truth to the proposals, samples RoIs, labels them and encodes their boxes.

    Args:
        arguments: the keyword arguments of dcn_tasks.roi_targets.sample_rois, all but `draws`.
    Source: the original's Python operator `proposal_target`.
    """

    def __init__(self, **arguments):
        super().__init__()
        self.arguments = arguments

    def forward(self, rois: Tensor, gt_boxes: Tensor, draws: Draws) -> RoISamples:
        """rois [R, 5], gt_boxes [G, 5] = (x1, y1, x2, y2, class) in network input pixels -> samples, in rois' dtype."""
        samples = sample_rois(as_array(rois), as_array(gt_boxes), draws=draws, **self.arguments)
        parts = (samples.rois, samples.labels, samples.bbox_targets, samples.bbox_weights)
        return RoISamples(*(torch.as_tensor(part, dtype=rois.dtype, device=rois.device) for part in parts))


class HardRoISelector(nn.Module):
    """Online hard example mining: only the RoIs with the largest loss train (Shrivastava et al. 2016).

    Args:
        rois_per_image: how many remain.
    Source: the original's Python operator `BoxAnnotatorOHEM`.
    """

    def __init__(self, rois_per_image: int):
        super().__init__()
        self.rois_per_image = rois_per_image

    def forward(self, cls_score: Tensor, bbox_pred: Tensor, samples: RoISamples) -> HardRoIs:
        """Logits [R, C], box deltas [R, 4*num_box_classes] and the samples they belong to -> labels and weights."""
        arrays = (cls_score, bbox_pred, samples.labels, samples.bbox_targets, samples.bbox_weights)
        labels, weights = select_hard_rois(*map(as_array, arrays), rois_per_image=self.rois_per_image)
        return HardRoIs(
            *(torch.as_tensor(part, dtype=cls_score.dtype, device=cls_score.device) for part in (labels, weights))
        )
