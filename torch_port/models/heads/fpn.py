"""The second stage of FPN: RoIs pooled from the level of their size, then two fully connected layers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from torch_port.layers import PyramidRoIPool
from torch_port.models.heads.rcnn import BoxHead


class FPNHead(BoxHead):
    """Class logits and box deltas of every RoI.

    Args:
        channels: of every level. strides: of the levels that are pooled from.
        pooled_size, level_side, deformable: as PyramidRoIPool. sizes: the keyword arguments of BoxHead.
    Source: the original's fpn_roi_pooling ... bbox_pred.
    """

    def __init__(
        self,
        channels: int,
        *,
        strides: Sequence[int] = (4, 8, 16, 32),
        pooled_size: int = 7,
        level_side: float = 224,
        deformable: bool = False,
        **sizes: int,
    ):
        super().__init__(channels * pooled_size**2, **sizes)
        self.roi_pool = PyramidRoIPool(
            channels, strides=strides, pooled_size=pooled_size, level_side=level_side, deformable=deformable
        )

    def forward(self, maps: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [1, C, H, W] from P2 on, RoIs [R, 5] in image pixels -> logits [R, C], box deltas [R, 4*num_box_classes]."""
        wide = torch.promote_types(maps[0].dtype, torch.float32)  # half precision would round RoI corners by pixels
        levels = [each.to(wide) for each in maps[: len(self.roi_pool.strides)]]
        return self.classify(self.roi_pool(levels, rois.to(wide)).pooled)
