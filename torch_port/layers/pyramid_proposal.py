"""Object proposals from the region proposal network's maps of every level of a pyramid."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dcn_tasks.anchors import base_anchors, grid_anchors
from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws
from torch_port import ops
from torch_port.layers.proposal import ProposalLimits


class PyramidProposal(nn.Module):
    """Decodes, clips, sorts and suppresses the anchor boxes of all levels together. No gradient.

    Args:
        feature_strides: image pixels per feature pixel, level by level.
        scales, ratios: of the anchors of every level, as in dcn_tasks.anchors.base_anchors.
    Source: the original's Python operator `pyramid_proposal`. Boxes are decoded in float64, as there.
    """

    def __init__(self, *, feature_strides: Sequence[int], scales: tuple[float, ...], ratios: tuple[float, ...]):
        super().__init__()
        self.feature_strides = tuple(feature_strides)
        self.scales, self.ratios = tuple(scales), tuple(ratios)

    @torch.no_grad()
    def forward(
        self,
        class_probs: Sequence[Tensor],
        bbox_deltas: Sequence[Tensor],
        im_info: Tensor,
        limits: ProposalLimits,
        draws: Draws | None = None,
    ) -> Tensor:
        """RoIs of one image.

        Args:
            class_probs: [1, 2A, H, W] of every level, background first. bbox_deltas: [1, 4A, H, W] of every level.
            im_info: [1, 3] = network input height and width in pixels, and scale.
            limits, draws: as torch_port.layers.Proposal.
        Returns: [post_nms_top_n, 5] = (0, x1, y1, x2, y2), network input pixels, far edge inclusive.
        Raises: InputError for more than one image or when no box is large enough.
        """
        if len(im_info) != 1:
            raise InputError(f"PyramidProposal: expected one image, as the original, got {len(im_info)}")
        height, width, scale = im_info[0].double().tolist()
        levels = zip(class_probs, bbox_deltas, self.feature_strides, strict=True)
        found = [self.level_boxes(prob[0], deltas[0], stride, height, width) for prob, deltas, stride in levels]
        boxes, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        large = (boxes[:, 2:] - boxes[:, :2] + 1 >= limits.min_size * scale).all(1)
        boxes, scores = boxes[large], scores[large]
        order = torch.argsort(scores, descending=True, stable=True)
        if limits.pre_nms_top_n > 0:
            order = order[: limits.pre_nms_top_n]
        boxes, scores = boxes[order], scores[order]
        keep = ops.nms(boxes, scores.to(boxes), limits.nms_thresh)[: limits.post_nms_top_n]
        if len(keep) == 0:
            raise InputError(
                f"PyramidProposal: no box of at least {limits.min_size * scale:g} px is left: are scores or deltas NaN?"
            )
        missing = limits.post_nms_top_n - len(keep)
        if missing > 0:
            picks = (draws or Draws(0)).choice("proposal.padding", len(keep), size=missing, replace=True)
            keep = torch.cat([keep, keep[torch.as_tensor(picks, device=keep.device)]])
        wide = torch.promote_types(bbox_deltas[0].dtype, torch.float32)
        rois = boxes[keep].float().to(wide)  # the original returns float32 also in a float64 network
        return torch.cat([rois.new_zeros(len(rois), 1), rois], dim=1)

    def level_boxes(
        self, prob: Tensor, deltas: Tensor, stride: int, height: float, width: float
    ) -> tuple[Tensor, Tensor]:
        """prob [2A, H, W], deltas [4A, H, W] -> boxes [M, 4] float64, clipped, and their scores [M]."""
        fg_scores = prob[len(prob) // 2 :]
        rows = min(int(height / stride), fg_scores.shape[1])
        columns = min(int(width / stride), fg_scores.shape[2])
        grid = grid_anchors(base_anchors(stride, self.ratios, self.scales), rows, columns, stride)
        anchors = torch.as_tensor(grid, device=prob.device)
        scores = fg_scores[:, :rows, :columns].permute(1, 2, 0).reshape(-1)
        moves = deltas[:, :rows, :columns].permute(1, 2, 0).reshape(-1, 4).double()
        return clipped(moved(anchors, moves), height, width), scores

    def extra_repr(self) -> str:
        return f"feature_strides={self.feature_strides}, scales={self.scales}, ratios={self.ratios}"


def moved(anchors: Tensor, deltas: Tensor) -> Tensor:
    """Boxes [N, 4] that deltas [N, 4] = (dx, dy, dw, dh) make of anchors [N, 4]; far edge inclusive, in float64."""
    size = anchors[:, 2:] - anchors[:, :2] + 1
    centre = anchors[:, :2] + 0.5 * (size - 1)
    new_centre = deltas[:, :2] * size + centre
    half = 0.5 * (torch.exp(deltas[:, 2:]) * size - 1)
    return torch.cat([new_centre - half, new_centre + half], dim=1)


def clipped(boxes: Tensor, height: float, width: float) -> Tensor:
    """Boxes [N, 4] cut at the first and the last pixel of an image."""
    last = boxes.new_tensor([width - 1, height - 1, width - 1, height - 1])
    return torch.minimum(boxes, last).clamp(min=0)
