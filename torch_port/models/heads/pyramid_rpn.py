"""The region proposal network on every level of a pyramid, one set of weights for all."""

import torch
from torch import Tensor, nn

from dcn_tasks.streams import Draws
from torch_port.layers import ChannelSoftmax, Concat, ProposalLimits, PyramidProposal, SharedConv2d
from torch_port.models.heads.rpn import RPNOutputs
from torch_port.models.neck import Pyramid

LEVELS = Pyramid._fields


class PyramidRPN(nn.Module):
    """Scores and refines A anchors at every position of every level, and proposes RoIs from them all.

    Args:
        in_channels: channels of every level. width: channels of the hidden 3x3 convolution.
        scales, ratios: of the anchors; A = len(scales) * len(ratios).
        feature_strides: image pixels per feature pixel, level by level.
    Source: the original's rpn_conv_p2 ... rois.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = 512,
        scales: tuple[float, ...] = (8,),
        ratios: tuple[float, ...] = (0.5, 1, 2),
        feature_strides: tuple[int, ...] = (4, 8, 16, 32, 64),
    ):
        super().__init__()
        self.num_anchors = len(scales) * len(ratios)
        self.conv = SharedConv2d(in_channels, width, 3, LEVELS)
        self.relu = nn.ModuleDict({level: nn.ReLU() for level in LEVELS})
        self.cls_score = SharedConv2d(width, 2 * self.num_anchors, 1, LEVELS)
        self.bbox_pred = SharedConv2d(width, 4 * self.num_anchors, 1, LEVELS)
        self.softmax = nn.ModuleDict({level: ChannelSoftmax(classes=2) for level in LEVELS})
        self.cls_concat = Concat(dim=2)
        self.bbox_concat = Concat(dim=2)
        self.proposal = PyramidProposal(feature_strides=feature_strides, scales=scales, ratios=ratios)

    def forward(self, maps: Pyramid, im_info: Tensor, limits: ProposalLimits, draws: Draws | None = None) -> RPNOutputs:
        """Maps [1, C, H, W] of the levels and im_info [1, 3] -> scores [1, 2, sum of A*H*W] and box deltas
        [1, 4A, sum of H*W], level after level, and RoIs (without gradient)."""
        hidden = [relu(each) for relu, each in zip(self.relu.values(), self.conv(maps), strict=True)]
        scores, deltas = self.cls_score(hidden), self.bbox_pred(hidden)
        with torch.no_grad():
            probs = [softmax(each.detach()) for softmax, each in zip(self.softmax.values(), scores, strict=True)]
        rois = self.proposal(probs, [each.detach() for each in deltas], im_info, limits, draws)
        cls_score = self.cls_concat(*(each.unflatten(1, (2, -1)).flatten(2) for each in scores))
        return RPNOutputs(cls_score, self.bbox_concat(*(each.flatten(2) for each in deltas)), rois)
