"""ResNet-v1 in the Caffe layout, with a dilated last stage and deformable units."""

from typing import Any

from torch import Tensor, nn

from torch_port.layers import (
    Add,
    CeilMaxPool,
    DeformConv2d,
    ModulatedDeformConv2d,
    Modulation,
    PaddedMaxPool,
    RatedConv2d,
)
from torch_port.layers.modulation import OFFSETS, SAMPLES
from torch_port.models.backbone.stages import EXPANSION, StagedBackbone, UnitPlan, normalisation, projection

MODULATED_LR_MULT = 0.1  # of convolutions that give offsets and masks, in the original's DCNv2_op example


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut: [N, C, H, W] -> [N, 4*width, H/stride, W/stride].

    The stride stands on the shortcut and on the first 1x1 convolution, or on the 3x3 as in torchvision. A unit whose
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
        stride_on_3x3: torchvision's place of the stride; its offset convolution, if any, strides with it.
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
        stride_on_3x3: bool = False,
        use_global_stats: bool = True,
    ):
        super().__init__()

        out_channels = EXPANSION * width
        first, middle = (1, stride) if stride_on_3x3 else (stride, 1)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = normalisation(width, use_global_stats)
        self.relu1 = nn.ReLU()
        geometry: dict[str, Any] = {"stride": middle, "padding": dilation, "dilation": dilation}
        reach = offset_dilation or dilation
        self.modulation = Modulation(offset_groups) if offset_groups and modulated else None
        if self.modulation is not None:
            guides = (OFFSETS + SAMPLES) * offset_groups
            self.offset_conv = RatedConv2d(
                width, guides, 3, middle, padding=reach, dilation=reach, lr_mult=MODULATED_LR_MULT
            )
            self.conv2 = ModulatedDeformConv2d(width, width, 3, offset_groups=offset_groups, border="zeros", **geometry)
        elif offset_groups:
            self.offset_conv = RatedConv2d(
                width, 2 * 9 * offset_groups, 3, middle, padding=reach, dilation=reach, bias_lr_mult=offset_bias_lr_mult
            )
            self.conv2 = DeformConv2d(width, width, 3, offset_groups=offset_groups, border="clamp", **geometry)
        else:
            self.offset_conv = None
            self.conv2 = nn.Conv2d(width, width, 3, bias=False, **geometry)
        self.bn2 = normalisation(width, use_global_stats)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = normalisation(out_channels, use_global_stats)
        self.shortcut = None
        if projects:
            self.shortcut = projection(in_channels, out_channels, stride, use_global_stats)
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


class ResNet(StagedBackbone):
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
        torchvision: its layout instead: stride on the 3x3 convolutions, and a first pooling with padding.
        use_global_stats: frozen batch normalisation.
    Source: the original's get_resnet_v1_conv4 and _conv5; `layers/*.txt` of the specification, node by node.
    """

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
        torchvision: bool = False,
        use_global_stats: bool = True,
    ):
        def unit(plan: UnitPlan) -> Bottleneck:
            return Bottleneck(
                plan.in_channels,
                plan.width,
                stride=plan.stride,
                dilation=plan.dilation,
                offset_dilation=offset_dilation if plan.stage == 5 else None,
                projects=plan.projects,
                offset_groups=offset_groups if (plan.stage, plan.index) in deformable else 0,
                modulated=modulated,
                offset_bias_lr_mult=offset_bias_lr_mult,
                stride_on_3x3=torchvision,
                use_global_stats=use_global_stats,
            )

        super().__init__(
            units,
            base_width,
            PaddedMaxPool(3, 2, padding=1) if torchvision else CeilMaxPool(3, 2),
            unit,
            stage5_stride=stage5_stride,
            stage5_dilation=stage5_dilation,
            use_global_stats=use_global_stats,
        )
