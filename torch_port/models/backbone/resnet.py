"""ResNet-v1 in the Caffe layout, with a dilated last stage and deformable units."""

from collections import OrderedDict
from typing import Any, NamedTuple

from torch import Tensor, nn

from torch_port.layers import (
    Add,
    BatchNorm,
    CeilMaxPool,
    DeformConv2d,
    ModulatedDeformConv2d,
    Modulation,
    RatedConv2d,
)
from torch_port.layers.modulation import OFFSETS, SAMPLES

EXPANSION = 4  # a bottleneck's output channels over its width
MODULATED_LR_MULT = 0.1  # of convolutions that give offsets and masks, in the original's DCNv2_op example


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut: [N, C, H, W] -> [N, 4*width, H/stride, W/stride].

    The stride stands on the first 1x1 convolution and on the shortcut (torchvision puts it on the 3x3). A unit whose
    shape does not change has no `shortcut`; a deformable one has `offset_conv`, zero-initialised, and a deformable
    conv2 in place of the plain one, with the same weight.

    Args:
        in_channels: C. width: channels between the convolutions.
        stride: of the unit. dilation: of the 3x3 convolution, in pixels. offset_dilation: of the offset convolution;
            None: the same.
        projects: whether the shortcut has a convolution.
        offset_groups: G, number of channel groups with offsets of their own; 0 for a plain unit.
        modulated: the deformable convolution has masks too (DCNv2), from the same `offset_conv`, which learns at a tenth of
            the rate.
        offset_bias_lr_mult: learning-rate multiplier of the offset convolution's bias.
        use_global_stats: frozen batch normalisation.
    Source: the original's res{2..5}{a,b,...} units.
    """

    conv2: nn.Conv2d | DeformConv2d | ModulatedDeformConv2d
    offset_conv: nn.Conv2d | None
    shortcut: nn.Sequential | None

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        offset_dilation: int | None = None,
        projects: bool = False,
        offset_groups: int = 0,
        modulated: bool = False,
        offset_bias_lr_mult: float = 1.0,
        use_global_stats: bool = True,
    ):
        super().__init__()

        def normalisation(channels: int) -> BatchNorm:
            return BatchNorm(channels, eps=1e-5, use_global_stats=use_global_stats)

        out_channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride, bias=False)
        self.bn1 = normalisation(width)
        self.relu1 = nn.ReLU()
        geometry: dict[str, Any] = {"padding": dilation, "dilation": dilation}
        reach = offset_dilation or dilation
        self.modulation = Modulation(offset_groups) if offset_groups and modulated else None
        if self.modulation is not None:
            guides = (OFFSETS + SAMPLES) * offset_groups
            self.offset_conv = RatedConv2d(width, guides, 3, padding=reach, dilation=reach, lr_mult=MODULATED_LR_MULT)
            self.conv2 = ModulatedDeformConv2d(width, width, 3, offset_groups=offset_groups, border="zeros", **geometry)
        elif offset_groups:
            self.offset_conv = RatedConv2d(
                width, 2 * 9 * offset_groups, 3, padding=reach, dilation=reach, bias_lr_mult=offset_bias_lr_mult
            )
            self.conv2 = DeformConv2d(width, width, 3, offset_groups=offset_groups, border="clamp", **geometry)
        else:
            self.offset_conv = None
            self.conv2 = nn.Conv2d(width, width, 3, bias=False, **geometry)
        self.bn2 = normalisation(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = normalisation(out_channels)
        self.shortcut = None
        if projects:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=projection, bn=normalisation(out_channels)))
        self.add = Add()
        self.relu3 = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        identity = input if self.shortcut is None else self.shortcut(input)
        hidden = self.relu1(self.bn1(self.conv1(input)))
        guides: tuple[Tensor, ...] = () if self.offset_conv is None else (self.offset_conv(hidden),)
        if self.modulation is not None:
            guides = self.modulation(*guides)
        hidden = self.relu2(self.bn2(self.conv2(hidden, *guides)))
        return self.relu3(self.add(identity, self.bn3(self.conv3(hidden))))


class Stages(NamedTuple):
    """The maps of stages 2 to 5: [N, 4*width, H, W] at strides 4, 8, 16, and 16 or 32."""

    stage2: Tensor
    stage3: Tensor
    stage4: Tensor
    stage5: Tensor


class ResNet(nn.Module):
    """Stem and stages 2 to 5: image -> the maps of all stages.

    With stage5_stride 1, stage 5 keeps stage 4's resolution and dilates its 3x3 convolutions instead.

    Args:
        units: number of bottlenecks in stages 2, 3, 4, 5; (3, 4, 23, 3) is ResNet-101.
        base_width: channels of the stem; stage s has width base_width * 2**(s - 2).
        deformable: (stage, 0-based unit index) of every deformable unit.
        offset_groups: G of the deformable units. modulated: as Bottleneck. offset_bias_lr_mult: of their offset convolutions; 2 in DeepLab.
        stage5_stride: 1, or 2 in FPN. stage5_dilation: of stage 5's 3x3 convolutions, in pixels.
        offset_dilation: of its offset convolutions; None: the same. The original's R-FCN and Faster R-CNN have 2 and 2,
            DeepLab and its demonstrations of offsets 2 and 1, FPN 1 and 1.
        use_global_stats: frozen batch normalisation.
    Source: the original's get_resnet_v1_conv4 and _conv5; `layers/*.txt` of the specification, node by node.
    """

    stage2: nn.Sequential
    stage3: nn.Sequential
    stage4: nn.Sequential
    stage5: nn.Sequential

    def __init__(
        self,
        units: tuple[int, int, int, int] = (3, 4, 23, 3),
        *,
        base_width: int = 64,
        deformable: frozenset[tuple[int, int]] = frozenset(),
        offset_groups: int = 4,
        modulated: bool = False,
        offset_bias_lr_mult: float = 1.0,
        stage5_stride: int = 1,
        stage5_dilation: int = 2,
        offset_dilation: int | None = None,
        use_global_stats: bool = True,
    ):
        super().__init__()
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(3, base_width, 7, stride=2, padding=3, bias=False),
                bn=BatchNorm(base_width, eps=1e-5, use_global_stats=use_global_stats),
                relu=nn.ReLU(),
                pool=CeilMaxPool(3, 2),
            )
        )
        channels = base_width
        strides = {2: 1, 3: 2, 4: 2, 5: stage5_stride}
        for stage, count in enumerate(units, start=2):
            width = base_width * 2 ** (stage - 2)
            blocks = []
            for index in range(count):
                blocks.append(
                    Bottleneck(
                        channels,
                        width,
                        stride=strides[stage] if index == 0 else 1,
                        dilation=stage5_dilation if stage == 5 else 1,
                        offset_dilation=offset_dilation if stage == 5 else None,
                        projects=index == 0,
                        offset_groups=offset_groups if (stage, index) in deformable else 0,
                        modulated=modulated,
                        offset_bias_lr_mult=offset_bias_lr_mult,
                        use_global_stats=use_global_stats,
                    )
                )
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
