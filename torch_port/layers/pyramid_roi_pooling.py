"""RoI pooling from the level of a pyramid that fits a RoI's size."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dcn_tasks.pyramid import levels_of
from torch_port.layers.fully_connected import FullyConnected
from torch_port.layers.roi_pooling import DeformPSRoIPool, RoIPool

SAMPLE_PER_PART = 4
TRANS_STD = 0.1
OFFSET_LR_MULT = 0.01  # the original's, on weight and bias


class PooledRoIs(NamedTuple):
    """pooled: [R, C, P, P]. offset: [R, 2, P, P] (x first, then y) that moved the bins; None where nothing did."""

    pooled: Tensor
    offset: Tensor | None = None


class LevelPool(nn.Module):
    """RoI pooling from one level: `pool` alone, or regular bins (`offset_pool`), a fully connected layer (`offset`) that
    says where they should be, and the pooling there (`pool`)."""

    pool: RoIPool | DeformPSRoIPool

    def __init__(self, channels: int, *, stride: int, pooled_size: int, deformable: bool):
        super().__init__()
        self.deformable = deformable
        if deformable:
            bins_of = partial(
                DeformPSRoIPool,
                channels,
                spatial_scale=1 / stride,
                group_size=1,
                pooled_size=pooled_size,
                sample_per_part=SAMPLE_PER_PART,
            )
            bins = pooled_size**2
            self.offset_pool = bins_of(trans_std=0.0)
            self.offset = FullyConnected(channels * bins, 2 * bins, lr_mult=OFFSET_LR_MULT)
            self.pool = bins_of(trans_std=TRANS_STD)
        else:
            self.pool = RoIPool(spatial_scale=1 / stride, pooled_size=pooled_size)

    def forward(self, input: Tensor, rois: Tensor) -> PooledRoIs:
        if not self.deformable:
            return PooledRoIs(self.pool(input, rois))
        regular = self.offset_pool(input, rois)
        offset = self.offset(regular).reshape(len(rois), 2, *regular.shape[2:])
        return PooledRoIs(self.pool(input, rois, offset), offset)


class PyramidRoIPool(nn.Module):
    """Pools every RoI from the level of its size.

    Args:
        channels: C of every map. strides: image pixels per feature pixel, level by level; submodules are p2, p3 ...
        pooled_size: P, bins per side. level_side: RoIs with sides of this, in image pixels, are pooled from P4.
        deformable: bins move by offsets that each level predicts with weights of its own.
    Source: the original's Python operator `fpn_roi_pooling`, but for its gradient history: the original hands out old
        gradients for a level that no RoI falls into; here such a level's gradient is zero.
    """

    def __init__(
        self,
        channels: int,
        *,
        strides: Sequence[int] = (4, 8, 16, 32),
        pooled_size: int = 7,
        level_side: float = 224,
        deformable: bool = False,
    ):
        super().__init__()
        self.strides, self.level_side = tuple(strides), level_side
        for index, stride in enumerate(strides):
            level = LevelPool(channels, stride=stride, pooled_size=pooled_size, deformable=deformable)
            self.add_module(f"p{2 + index}", level)

    def forward(self, maps: Sequence[Tensor], rois: Tensor) -> PooledRoIs:
        """Maps [1, C, H, W] of the levels, RoIs [R, 5] in image pixels -> pooled, in the order of the RoIs.

        A level without RoIs pools an empty list, so that its gradients are zeros, not missing: MXNet decays its weights.
        """
        level = levels_of(rois.detach().cpu().numpy(), len(self.strides), self.level_side)
        level_of_roi = torch.as_tensor(level, device=rois.device)
        places = [(level_of_roi == index).nonzero()[:, 0] for index in range(len(self.strides))]
        found = [pool(data, rois[rows]) for pool, data, rows in zip(self.children(), maps, places, strict=True)]
        order = torch.argsort(torch.cat(places))
        pooled = torch.cat([each.pooled for each in found])[order]
        offsets = [each.offset for each in found if each.offset is not None]
        return PooledRoIs(pooled, torch.cat(offsets)[order] if offsets else None)

    def extra_repr(self) -> str:
        return f"strides={self.strides}, level_side={self.level_side}"
