"""The region proposal network."""

from dataclasses import dataclass

from torch import Tensor, nn

from dcn_tasks.streams import Draws
from torch_port.layers import ChannelSoftmax, Proposal, ProposalLimits
from torch_port.layers.proposal import Variant


@dataclass
class RPNOutputs:
    """cls_score: [N, 2A, H, W] logits, background channels first; bbox_pred: [N, 4A, H, W]; rois: [N*post, 5]."""

    cls_score: Tensor
    bbox_pred: Tensor
    rois: Tensor


class RPNHead(nn.Module):
    """Scores and refines A anchors at every position, and proposes RoIs from them.

    Args:
        in_channels: channels of the stage 4 map. width: channels of the hidden 3x3 convolution.
        scales, ratios: of the anchors; A = len(scales) * len(ratios).
        feature_stride: image pixels per feature pixel.
        proposal_variant: as torch_port.layers.Proposal.
    Source: the original's rpn_conv_3x3 ... rois.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = 512,
        scales: tuple[float, ...] = (8, 16, 32),
        ratios: tuple[float, ...] = (0.5, 1, 2),
        feature_stride: int = 16,
        proposal_variant: Variant = "python",
    ):
        super().__init__()
        self.num_anchors = len(scales) * len(ratios)
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.relu = nn.ReLU()
        self.cls_score = nn.Conv2d(width, 2 * self.num_anchors, 1)
        self.bbox_pred = nn.Conv2d(width, 4 * self.num_anchors, 1)
        self.softmax = ChannelSoftmax(classes=2)
        self.proposal = Proposal(feature_stride=feature_stride, scales=scales, ratios=ratios, variant=proposal_variant)

    def forward(
        self, features: Tensor, im_info: Tensor, limits: ProposalLimits, draws: Draws | None = None
    ) -> RPNOutputs:
        """Stage 4 map [N, C, H, W] and im_info [N, 3] -> scores, box deltas and RoIs (without gradient)."""
        hidden = self.relu(self.conv(features))
        cls_score = self.cls_score(hidden)
        bbox_pred = self.bbox_pred(hidden)
        # the detached copy keeps the softmax, whose gradient nobody needs, out of autograd's graph
        rois = self.proposal(self.softmax(cls_score.detach()), bbox_pred.detach(), im_info, limits, draws)
        return RPNOutputs(cls_score, bbox_pred, rois)
