"""The R-FCN head: position-sensitive score maps, pooled per RoI and averaged."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_port.layers import ChannelSoftmax, DeformPSRoIPool, GlobalAverage, PSRoIPool, RatedConv2d

REDUCE_LR_MULT = 3.0  # the original's lr_mult on conv_new_1, weight and bias
SAMPLE_PER_PART = 4
TRANS_STD = 0.1


class RFCNHead(nn.Module):
    """Class scores and box deltas of every RoI from position-sensitive maps (Dai et al. 2016; deformable: 2017).

    Args:
        in_channels: channels of the stage 5 map. width: channels after the 1x1 reduction.
        num_classes: C, with background. num_box_classes: 2 (background, object) for class-agnostic boxes, else C.
        pooled_size: P, bins per side. spatial_scale: feature pixels per image pixel.
        deformable: bins move by learned offsets, one set per class for the scores and one for the boxes.
    Source: the original's conv_new_1 ... bbox_pred_reshape.
    """

    cls_pool: DeformPSRoIPool | PSRoIPool
    bbox_pool: DeformPSRoIPool | PSRoIPool

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = 1024,
        num_classes: int = 21,
        num_box_classes: int = 2,
        pooled_size: int = 7,
        spatial_scale: float = 1 / 16,
        deformable: bool = False,
    ):
        super().__init__()
        bins = pooled_size**2
        box_dim = 4 * num_box_classes
        self.deformable = deformable
        self.pooled_size = pooled_size
        self.reduce = RatedConv2d(in_channels, width, 1, lr_mult=REDUCE_LR_MULT)
        self.relu = nn.ReLU()
        self.cls_maps = nn.Conv2d(width, bins * num_classes, 1)
        self.bbox_maps = nn.Conv2d(width, bins * box_dim, 1)
        grid: dict[str, Any] = {"spatial_scale": spatial_scale, "pooled_size": pooled_size}
        if deformable:
            grid |= {"group_size": pooled_size, "sample_per_part": SAMPLE_PER_PART}
            self.cls_offset_maps = nn.Conv2d(width, 2 * bins * num_classes, 1)
            self.bbox_offset_maps = nn.Conv2d(width, 2 * bins, 1)
            self.cls_offset_pool = DeformPSRoIPool(2 * num_classes, trans_std=0.0, **grid)
            self.bbox_offset_pool = DeformPSRoIPool(2, trans_std=0.0, **grid)
            self.cls_pool = DeformPSRoIPool(num_classes, trans_std=TRANS_STD, **grid)
            self.bbox_pool = DeformPSRoIPool(box_dim, trans_std=TRANS_STD, **grid)
        else:
            self.cls_pool = PSRoIPool(num_classes, **grid)
            self.bbox_pool = PSRoIPool(box_dim, **grid)
        self.cls_average = GlobalAverage()
        self.bbox_average = GlobalAverage()
        self.softmax = ChannelSoftmax()

    def forward(self, features: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 5 map [N, C, H, W], RoIs [R, 5] in image pixels -> logits [R, C], box deltas [R, 4*num_box_classes].

        The softmax is not applied here: training needs the logits.
        """
        hidden = self.relu(self.reduce(features))
        # pooling in half precision would round RoI corners by pixels, so under autocast maps are widened
        wide = torch.promote_types(hidden.dtype, torch.float32)
        rois = rois.to(wide)
        cls_maps, bbox_maps = self.cls_maps(hidden).to(wide), self.bbox_maps(hidden).to(wide)
        if self.deformable:
            cls_offset = self.cls_offset_pool(self.cls_offset_maps(hidden).to(wide), rois)
            bbox_offset = self.bbox_offset_pool(self.bbox_offset_maps(hidden).to(wide), rois)
            cls_pooled = self.cls_pool(cls_maps, rois, cls_offset)
            bbox_pooled = self.bbox_pool(bbox_maps, rois, bbox_offset)
        else:
            cls_pooled = self.cls_pool(cls_maps, rois)
            bbox_pooled = self.bbox_pool(bbox_maps, rois)
        return self.cls_average(cls_pooled), self.bbox_average(bbox_pooled)

    @torch.no_grad()
    def unnormalise_boxes(self, means: Sequence[float], stds: Sequence[float]) -> None:
        """Makes a trained head predict plain box deltas: deltas * stds + means, folded into `bbox_maps`, in place.

        Training regresses deltas from which BBOX_MEANS [4] was taken and which were divided by BBOX_STDS [4]. Do it
        once, before detection, and not before more training.
        Source: the original's do_checkpoint, which saves the result as rfcn_bbox_{weight,bias}_test.
        """
        weight, bias = self.bbox_maps.weight, self.bbox_maps.bias
        assert bias is not None
        bins = self.pooled_size**2
        classes = len(bias) // (4 * bins)
        mean, std = (
            torch.tensor(list(values), dtype=torch.float64).repeat(classes).repeat_interleave(bins).to(bias)
            for values in (means, stds)
        )
        weight.mul_(std[:, None, None, None])
        bias.mul_(std).add_(mean)
