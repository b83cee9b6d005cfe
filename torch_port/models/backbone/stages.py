"""What backbones of four stages share: a stem, units in a row, a projection where a unit's shape changes."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from torch_port.layers import BatchNorm

EXPANSION = 4  # output channels of a unit over its width


class Stages(NamedTuple):
    """The maps of stages 2 to 5: [N, 4*width, H, W] at strides 4, 8, 16, and 16 or 32."""

    stage2: Tensor
    stage3: Tensor
    stage4: Tensor
    stage5: Tensor


@dataclass(frozen=True)
class UnitPlan:
    """One unit's place and size. stage: 2 to 5; index: 0-based in its stage. width: its output has 4 times as many channels.

    stride, dilation: pixels of its input. projects: whether its shortcut has a convolution.
    """

    stage: int
    index: int
    in_channels: int
    width: int
    stride: int
    dilation: int
    projects: bool


class StagedBackbone(nn.Module):
    """Stem and stages 2 to 5: image -> the maps of all stages.

    Args:
        units: number of units in stages 2, 3, 4, 5. base_width: channels of the stem; stage s has width base_width * 2**(s - 2).
        pool: the stem's max pooling, 3x3 of stride 2. unit: makes the module of a plan.
        stage5_stride: 1, or 2 in FPN. stage5_dilation: of stage 5's 3x3 convolutions, pixels.
        use_global_stats: frozen batch normalisation.
    """

    stage2: nn.Sequential
    stage3: nn.Sequential
    stage4: nn.Sequential
    stage5: nn.Sequential

    def __init__(
        self,
        units: tuple[int, int, int, int],
        base_width: int,
        pool: nn.Module,
        unit: Callable[[UnitPlan], nn.Module],
        *,
        stage5_stride: int,
        stage5_dilation: int,
        use_global_stats: bool,
    ):
        super().__init__()
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(3, base_width, 7, stride=2, padding=3, bias=False),
                bn=normalisation(base_width, use_global_stats),
                relu=nn.ReLU(),
                pool=pool,
            )
        )
        channels = base_width
        strides = {2: 1, 3: 2, 4: 2, 5: stage5_stride}
        for stage, count in enumerate(units, start=2):
            width, dilation = base_width * 2 ** (stage - 2), stage5_dilation if stage == 5 else 1
            blocks = []
            for index in range(count):
                stride = strides[stage] if index == 0 else 1
                blocks.append(unit(UnitPlan(stage, index, channels, width, stride, dilation, index == 0)))
                channels = EXPANSION * width
            self.add_module(f"stage{stage}", nn.Sequential(*blocks))

    def forward(self, data: Tensor) -> Stages:
        """[N, 3, H, W], RGB minus mean -> stage s: [N, 4 * base_width * 2**(s - 2), FH, FW].

        FH of stage 4 is about H/16, rounded up at the pool and at every stride: dcn_tasks.batch.feature_size computes it.
        """
        stage2 = self.stage2(self.stem(data))
        stage3 = self.stage3(stage2)
        stage4 = self.stage4(stage3)
        return Stages(stage2, stage3, stage4, self.stage5(stage4))


def normalisation(channels: int, use_global_stats: bool) -> BatchNorm:
    """The original's batch normalisation, eps 1e-5."""
    return BatchNorm(channels, eps=1e-5, use_global_stats=use_global_stats)


def projection(in_channels: int, out_channels: int, stride: int, use_global_stats: bool) -> nn.Sequential:
    """A unit's shortcut where its shape changes: 1x1 convolution `conv` with the unit's stride, then `bn`."""
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=normalisation(out_channels, use_global_stats)))
