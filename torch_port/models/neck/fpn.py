"""The feature pyramid (Lin et al. 2017) on ResNet's stages."""

from typing import NamedTuple

from torch import Tensor, nn

from torch_port.layers import Add
from torch_port.models.backbone import Stages


class Pyramid(NamedTuple):
    """Maps [N, width, H, W] at strides 4, 8, 16, 32 and 64."""

    p2: Tensor
    p3: Tensor
    p4: Tensor
    p5: Tensor
    p6: Tensor


class FPNNeck(nn.Module):
    """1x1 laterals, summed from the top down with the level above enlarged by the nearest pixel, then 3x3; P6 is a strided
    3x3 convolution of stage 5.

    Args:
        stage_channels: of stages 2 to 5. width: channels of every level.
    Source: the original's fpn_p5_1x1 ... fpn_p2. Sides of the image have to be multiples of 32 (IMAGE_STRIDE), or the sums
        do not fit.
    """

    def __init__(self, stage_channels: tuple[int, int, int, int], *, width: int = 256):
        super().__init__()
        names = ("p2", "p3", "p4", "p5")
        self.lateral = nn.ModuleDict(
            {name: nn.Conv2d(channels, width, 1) for name, channels in zip(names, stage_channels, strict=True)}
        )
        self.upsample = nn.ModuleDict({name: nn.Upsample(scale_factor=2, mode="nearest") for name in names[1:]})
        self.sum = nn.ModuleDict({name: Add() for name in names[:-1]})
        self.output = nn.ModuleDict({name: nn.Conv2d(width, width, 3, padding=1) for name in names})
        self.output["p6"] = nn.Conv2d(stage_channels[-1], width, 3, stride=2, padding=1)

    def forward(self, stages: Stages) -> Pyramid:
        """Maps of stages 2 to 5 at strides 4 to 32 -> levels 2 to 6."""
        p5 = self.lateral["p5"](stages.stage5)
        p4 = self.sum["p4"](self.upsample["p5"](p5), self.lateral["p4"](stages.stage4))
        p3 = self.sum["p3"](self.upsample["p4"](p4), self.lateral["p3"](stages.stage3))
        p2 = self.sum["p2"](self.upsample["p3"](p3), self.lateral["p2"](stages.stage2))
        summed = {"p2": p2, "p3": p3, "p4": p4, "p5": p5, "p6": stages.stage5}
        return Pyramid(**{name: self.output[name](data) for name, data in summed.items()})
