"""Object proposals from the region proposal network's maps."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dcn_tasks.streams import Draws
from torch_port import ops

Variant = Literal["python", "cxx"]


@dataclass(frozen=True)
class ProposalLimits:
    """How many boxes survive which step.

    pre_nms_top_n: best-scored boxes that enter the suppression; post_nms_top_n: rows that come out; nms_thresh: boxes
    with IoU above it are suppressed; min_size: boxes with a side below it are dropped, in pixels of the unscaled image.
    """

    pre_nms_top_n: int
    post_nms_top_n: int
    nms_thresh: float
    min_size: float


class Proposal(nn.Module):
    """Decodes, clips, sorts and suppresses anchor boxes; always returns the same number of rows. No gradient.

    Args:
        feature_stride: image pixels per feature pixel.
        scales, ratios: of the anchors, as in dcn_tasks.anchors.base_anchors.
        variant: "python", the original's Python operator (operator_py/proposal.py), or "cxx", MXNet's own Proposal.
    Source: torch_port.ops.proposal.
    """

    def __init__(
        self, *, feature_stride: int, scales: tuple[float, ...], ratios: tuple[float, ...], variant: Variant = "python"
    ):
        super().__init__()
        self.variant = variant
        self.feature_stride = feature_stride
        self.scales = tuple(scales)
        self.ratios = tuple(ratios)

    @torch.no_grad()
    def forward(
        self,
        class_prob: Tensor,
        bbox_delta: Tensor,
        im_info: Tensor,
        limits: ProposalLimits,
        draws: Draws | None = None,
    ) -> Tensor:
        """RoIs of every image.

        Args:
            class_prob: [N, 2A, H, W], background first. bbox_delta: [N, 4A, H, W].
            im_info: [N, 3] = network input height and width in pixels, and scale.
            limits: how many boxes survive.
            draws: random streams; missing rows repeat kept ones drawn at site "proposal.padding", image by image, so
                that another framework with the same streams repeats the same rows. None: Draws(0).
        Returns: [N*post_nms_top_n, 5] = (image index, x1, y1, x2, y2) in network input pixels, far edge inclusive.
        """
        unused = torch.Generator(bbox_delta.device).manual_seed(0)  # its padding is overwritten below
        wide = torch.promote_types(bbox_delta.dtype, torch.float32)  # boxes in half precision would be off by pixels
        rois, _, num_valid = ops.proposal(
            class_prob.to(wide),
            bbox_delta.to(wide),
            im_info.to(wide),
            feature_stride=self.feature_stride,
            scales=self.scales,
            ratios=self.ratios,
            pre_nms_top_n=limits.pre_nms_top_n,
            post_nms_top_n=limits.post_nms_top_n,
            nms_thresh=limits.nms_thresh,
            min_size=limits.min_size,
            variant=self.variant,
            generator=unused,
        )
        if self.variant == "cxx":  # pads by turns, without a draw
            return rois
        rois = rois.float().to(wide)  # the original returns float32 also in a float64 network
        return self.pad(rois, num_valid.tolist(), draws or Draws(0))

    def pad(self, rois: Tensor, num_valid: list[int], draws: Draws) -> Tensor:
        """Rewrites every image's rows beyond its num_valid kept ones with kept ones drawn from `draws`."""
        per_image = rois.view(len(num_valid), -1, 5)
        for image_rois, valid in zip(per_image, num_valid, strict=True):
            missing = len(image_rois) - valid
            if missing > 0 and valid > 0:
                picks = draws.choice("proposal.padding", valid, size=missing, replace=True)
                image_rois[valid:] = image_rois[torch.as_tensor(picks, device=rois.device)]
        return rois

    def extra_repr(self) -> str:
        anchors = f"feature_stride={self.feature_stride}, scales={self.scales}, ratios={self.ratios}"
        return f"{anchors}, variant={self.variant!r}"
