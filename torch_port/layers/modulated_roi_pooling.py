"""RoI pooling whose bins move and are weighted (DCNv2), node by node."""

import torch
from torch import Tensor, nn

from torch_port.layers.fully_connected import FullyConnected
from torch_port.layers.modulation import ChannelSlice, Sigmoid
from torch_port.layers.roi_pooling import DeformPSRoIPool

SAMPLE_PER_PART = 2  # of the original's example; its first version's heads have 4


class Times(nn.Module):
    """a * b, where sides of 1 repeat. Source: MXNet broadcast_mul."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class ModulatedDeformRoIPool(nn.Module):
    """RoI pooling (DCNv2) whose bins move by offsets and are multiplied by masks, both read off the bins at rest.

    fc1, fc2 and `guide` give 3*P*P numbers per RoI: 2*P*P offsets, x then y, in RoI sizes times trans_std, then P*P masks,
    which pass a plain sigmoid. `guide` starts at zeros (ours; the example does not say), so that bins start at rest with
    masks of 1/2.

    Args:
        channels: D, of the maps and of the output. fc_width: of fc1 and fc2.
        pooled_size: P, bins per side. spatial_scale: feature pixels per image pixel. trans_std: of the offsets.
    Source: DCNv2_op/example_symbol.py of the original.
    """

    def __init__(
        self,
        channels: int,
        *,
        fc_width: int = 1024,
        pooled_size: int = 7,
        spatial_scale: float = 1 / 16,
        trans_std: float = 0.1,
    ):
        super().__init__()
        bins = pooled_size**2
        self.pooled_size = pooled_size

        def pool(trans_std: float) -> DeformPSRoIPool:
            return DeformPSRoIPool(
                channels,
                spatial_scale=spatial_scale,
                group_size=1,
                pooled_size=pooled_size,
                sample_per_part=SAMPLE_PER_PART,
                trans_std=trans_std,
            )

        self.rest_pool = pool(0.0)
        self.fc1 = FullyConnected(channels * bins, fc_width)
        self.relu1 = nn.ReLU()
        self.fc2 = FullyConnected(fc_width, fc_width)
        self.relu2 = nn.ReLU()
        self.guide = FullyConnected(fc_width, 3 * bins)
        self.offset_slice = ChannelSlice(0, 2 * bins)
        self.mask_slice = ChannelSlice(2 * bins, 3 * bins)
        self.sigmoid = Sigmoid()
        self.pool = pool(trans_std)
        self.times = Times()
        nn.init.zeros_(self.guide.weight)
        nn.init.zeros_(self.guide.bias)

    def forward(self, maps: Tensor, rois: Tensor) -> Tensor:
        """[N, D, H, W], RoIs [R, 5] in image pixels -> [R, D, P, P]; R may be 0."""
        wide = torch.promote_types(maps.dtype, torch.float32)
        side = self.pooled_size
        hidden = self.relu1(self.fc1(self.rest_pool(maps, rois)))
        guides = self.guide(self.relu2(self.fc2(hidden))).to(wide)
        offset = self.offset_slice(guides).reshape(-1, 2, side, side)
        mask = self.sigmoid(self.mask_slice(guides)).reshape(-1, 1, side, side)
        return self.times(self.pool(maps, rois, offset), mask)
