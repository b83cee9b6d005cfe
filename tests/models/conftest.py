"""A network small enough to run in milliseconds, with every part of the real one, and a training batch for it."""

import numpy as np
import pytest
import torch

from torch_port.layers import ProposalLimits
from torch_port.models import RFCN
from torch_port.models.backbone import ResNet
from torch_port.models.heads import RFCNHead, RPNHead
from torch_port.models.sampling import HardRoISelector, ProposalTarget
from torch_port.models.two_stage import Losses

SIDE = 96  # pixels; 6 x 6 features


def build_narrow(*, deformable: bool = True, hard_rois: int | None = 8) -> RFCN:
    """R-FCN with one unit per stage, 4 classes and 3x3 bins, in float64, seeded; offsets are not zero."""
    torch.manual_seed(3)
    units = frozenset({(5, 0)}) if deformable else frozenset()
    limits = ProposalLimits(pre_nms_top_n=50, post_nms_top_n=12, nms_thresh=0.7, min_size=0)
    network = RFCN(
        ResNet((1, 1, 1, 1), base_width=4, deformable=units, offset_groups=2),
        RPNHead(64, width=8, scales=(1, 2), ratios=(0.5, 1, 2)),
        RFCNHead(128, width=16, num_classes=4, pooled_size=3, deformable=deformable),
        train_limits=limits,
        test_limits=limits,
        proposal_target=ProposalTarget(
            batch_rois=-1,
            fg_fraction=0.25,
            fg_thresh=0.5,
            bg_thresh_hi=0.5,
            bg_thresh_lo=0.0,
            num_reg_classes=2,
            class_agnostic=True,
            bbox_means=(0, 0, 0, 0),
            bbox_stds=(0.1, 0.1, 0.2, 0.2),
            bbox_weights=(1, 1, 1, 1),
        ),
        hard_rois=None if hard_rois is None else HardRoISelector(hard_rois),
        losses=Losses(rpn_batch_size=16, rois_per_image=hard_rois or 16),
    )
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.shape[-1] == 1:
            torch.nn.init.normal_(module.weight, std=(1 / module.in_channels) ** 0.5)
    return network.double()


@pytest.fixture
def narrow() -> RFCN:
    return build_narrow()


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    anchors, side = 6, SIDE // 16
    label = rng.integers(-1, 2, size=(1, anchors * side * side))
    weight = np.repeat((label == 1).reshape(1, anchors, side, side), 4, axis=1)
    return {
        "data": rng.normal(size=(1, 3, SIDE, SIDE)),
        "im_info": np.array([[SIDE, SIDE, 1.0]]),
        "gt_boxes": np.array([[[10, 12, 50, 60, 1], [40, 30, 90, 80, 3]]], dtype=float),
        "label": label.astype(float),
        "bbox_target": rng.normal(size=weight.shape) * weight,
        "bbox_weight": weight.astype(float),
    }
