"""Detections of a class-aware region proposal network before suppression."""

import torch
from torch import Tensor, nn

from dcn_tasks.anchors import base_anchors, grid_anchors


class AnchorCandidates(nn.Module):
    """The anchors whose likeliest object class is likeliest, in the order of the grid.

    Args:
        feature_stride: image pixels per feature pixel. scales, ratios: of the anchors.
        top_n: anchors per image, or all where there are fewer; ties go to the anchor that comes first.
    Source: dcn_tasks.anchor_candidates.
    """

    def __init__(self, *, feature_stride: int, scales: tuple[float, ...], ratios: tuple[float, ...], top_n: int):
        super().__init__()
        self.feature_stride = feature_stride
        self.scales, self.ratios = tuple(scales), tuple(ratios)
        self.top_n = top_n

    def forward(self, cls_prob: Tensor, bbox_pred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, C*A, H, W] class-major, [N, 4A, H, W] -> rois [R, 5] (anchors), probabilities [R, C], deltas [R, 8]."""
        images, _, height, width = cls_prob.shape
        base = base_anchors(self.feature_stride, self.ratios, self.scales)
        count = len(base)
        wide = torch.promote_types(cls_prob.dtype, torch.float32)  # boxes in half precision would be off by pixels
        anchors = torch.as_tensor(grid_anchors(base, height, width, self.feature_stride)).to(cls_prob.device, wide)
        prob = cls_prob.unflatten(1, (-1, count)).permute(0, 3, 4, 2, 1).reshape(images, height * width * count, -1)
        deltas = bbox_pred.unflatten(1, (count, 4)).permute(0, 3, 4, 1, 2).reshape(images, -1, 4)
        order = prob[:, :, 1:].amax(dim=2).argsort(dim=1, descending=True, stable=True)
        kept = order[:, : self.top_n].sort(dim=1).values
        rows = torch.arange(images, device=cls_prob.device)[:, None]
        rois = torch.cat([rows.expand_as(kept)[..., None].to(wide), anchors[kept]], dim=2)
        chosen = deltas[rows, kept]
        return rois.flatten(0, 1), prob[rows, kept].flatten(0, 1), nn.functional.pad(chosen, (4, 0)).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"feature_stride={self.feature_stride}, scales={self.scales}, ratios={self.ratios}, top_n={self.top_n}"
