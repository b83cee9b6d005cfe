"""Aligned-Inception-ResNet of the paper's appendix B, with a dilated last stage and deformable convolutions.

Sources: [paper] arXiv 1703.06211 appendix B, in words; [air] soeaver/caffe-model, cls/air/deploy_air101.prototxt, a
re-implementation whose count of parameters is the paper's 64.3 M (conv 62.203 M, with the ImageNet classifier 64.252 M).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from torch_port.layers import (
    Add,
    Concat,
    DeformConv2d,
    ModulatedDeformConv2d,
    Modulation,
    PaddedMaxPool,
    RatedConv2d,
)
from torch_port.layers.modulation import OFFSETS, SAMPLES
from torch_port.models.backbone.resnet import MODULATED_LR_MULT
from torch_port.models.backbone.stages import EXPANSION, StagedBackbone, UnitPlan, normalisation, projection

Place = tuple[int, int, str, int]  # stage, 0-based unit, branch "a" or "b", convolution 2 or 3
DEPTHS = {"a": 1, "b": 2}  # 3x3 convolutions of a branch [air]
DIVISORS = {"a": 1, "b": 2}  # of the unit's width [air]


class Branch(nn.Module):
    """A 1x1 convolution, then one or two 3x3 of the same width: [N, C, H, W] -> [N, width, H/stride, W/stride].

    BatchNorm and ReLU follow every convolution but the last. The first 3x3 has the stride [air; the paper names the stride
    of the projection only]. A deformable convolution k has `offset_conv{k}`, zero-initialised, with its stride.

    Args:
        in_channels: C. width: of every convolution. depth: number of 3x3 convolutions.
        stride, dilation: pixels. offset_dilation: of the offset convolutions; None: the same.
        offset_groups: G by convolution, {2: 4} for a deformable first 3x3; those left out are plain.
        modulated: deformable convolutions have masks too (DCNv2), `modulation{k}` between them and `offset_conv{k}`.
        use_global_stats: frozen batch normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        depth: int,
        stride: int = 1,
        dilation: int = 1,
        offset_dilation: int | None = None,
        offset_groups: Mapping[int, int] | None = None,
        modulated: bool = False,
        use_global_stats: bool = True,
    ):
        super().__init__()
        self.depth = depth
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        reach = offset_dilation or dilation
        for k in range(2, depth + 2):
            self.add_module(f"bn{k - 1}", normalisation(width, use_global_stats))
            self.add_module(f"relu{k - 1}", nn.ReLU())
            step = stride if k == 2 else 1
            geometry: dict[str, Any] = {"stride": step, "padding": dilation, "dilation": dilation}
            groups = (offset_groups or {}).get(k, 0)
            conv: nn.Module
            if groups and modulated:
                guides = (OFFSETS + SAMPLES) * groups
                offset_conv = RatedConv2d(
                    width, guides, 3, step, padding=reach, dilation=reach, lr_mult=MODULATED_LR_MULT
                )
                self.add_module(f"offset_conv{k}", offset_conv)
                self.add_module(f"modulation{k}", Modulation(groups))
                conv = ModulatedDeformConv2d(width, width, 3, offset_groups=groups, border="zeros", **geometry)
            elif groups:
                offset_conv = RatedConv2d(width, 2 * 9 * groups, 3, step, padding=reach, dilation=reach)
                self.add_module(f"offset_conv{k}", offset_conv)
                conv = DeformConv2d(width, width, 3, offset_groups=groups, border="clamp", **geometry)
            else:
                conv = nn.Conv2d(width, width, 3, bias=False, **geometry)
            self.add_module(f"conv{k}", conv)

    @property
    def last(self) -> nn.Conv2d | DeformConv2d | ModulatedDeformConv2d:
        """The convolution that the unit's BatchNorm follows."""
        return getattr(self, f"conv{self.depth + 1}")

    def forward(self, input: Tensor) -> Tensor:
        hidden = self.conv1(input)
        for k in range(2, self.depth + 2):
            hidden = getattr(self, f"relu{k - 1}")(getattr(self, f"bn{k - 1}")(hidden))
            offset_conv, modulation = (getattr(self, f"{part}{k}", None) for part in ("offset_conv", "modulation"))
            guides = () if offset_conv is None else (offset_conv(hidden),)
            guides = guides if modulation is None else modulation(*guides)
            hidden = getattr(self, f"conv{k}")(hidden, *guides)
        return hidden


class InceptionUnit(nn.Module):
    """Two branches side by side, merged by a 1x1 convolution, and a shortcut: [N, C, H, W] -> [N, 4*width, H/s, W/s].

    Branch a: 1x1, 3x3 of `width`; b: 1x1, 3x3, 3x3 of half of it; one BatchNorm and ReLU on both together; conv2 merges,
    without ReLU before the sum [air]. A unit whose shape does not change has no `shortcut` [paper: a 1x1 convolution where
    the number of channels changes].

    Args:
        in_channels: C. width: p, even. stride: of the unit. dilation: of its 3x3 convolutions, pixels.
        projects: whether the shortcut has a convolution.
        offset_groups: G by (branch, convolution), {("b", 3): 4}; those left out are plain.
        offset_dilation, modulated, use_global_stats: as Branch.
    """

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
        offset_groups: Mapping[tuple[str, int], int] | None = None,
        modulated: bool = False,
        use_global_stats: bool = True,
    ):
        super().__init__()

        def branch(name: str) -> Branch:
            return Branch(
                in_channels,
                width // DIVISORS[name],
                depth=DEPTHS[name],
                stride=stride,
                dilation=dilation,
                offset_dilation=offset_dilation,
                offset_groups={k: groups for (of, k), groups in (offset_groups or {}).items() if of == name},
                modulated=modulated,
                use_global_stats=use_global_stats,
            )

        both, out_channels = sum(width // divisor for divisor in DIVISORS.values()), EXPANSION * width
        self.a, self.b = branch("a"), branch("b")
        self.concat = Concat()
        self.bn1 = normalisation(both, use_global_stats)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(both, out_channels, 1, bias=False)
        self.bn2 = normalisation(out_channels, use_global_stats)
        self.shortcut = None
        if projects:
            self.shortcut = projection(in_channels, out_channels, stride, use_global_stats)
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        identity = input if self.shortcut is None else self.shortcut(input)
        hidden = self.relu1(self.bn1(self.concat(self.a(input), self.b(input))))
        return self.relu2(self.add(identity, self.bn2(self.conv2(hidden))))


class AlignedInceptionResNet(StagedBackbone):
    """Stem and stages 2 to 5: image -> the maps of all stages, at strides 4, 8, 16, and 16 or 32.

    Padding is k // 2 everywhere, max pooling included, so that a cell's centre is that of its receptive field [paper].

    Args:
        units: number of units in stages 2, 3, 4, 5; the paper's has (3, 4, 23, 3) [air; the count fits].
        base_width: channels of the stem, even; stage s has width base_width * 2**(s - 2).
        deformable: (stage, 0-based unit, branch "a" or "b", convolution 2 or 3) of every deformable 3x3 convolution. The
            paper's "last three" are those of the last unit.
        offset_groups: G of the deformable convolutions. modulated: as Branch.
        stage5_stride, stage5_dilation, offset_dilation, use_global_stats: as torch_port.models.backbone.ResNet.
    """

    def __init__(
        self,
        units: tuple[int, int, int, int] = (3, 4, 23, 3),
        *,
        base_width: int = 64,
        deformable: frozenset[Place] = frozenset(),
        offset_groups: int = 4,
        modulated: bool = False,
        stage5_stride: int = 1,
        stage5_dilation: int = 2,
        offset_dilation: int | None = None,
        use_global_stats: bool = True,
    ):
        def unit(plan: UnitPlan) -> InceptionUnit:
            place = (plan.stage, plan.index)
            return InceptionUnit(
                plan.in_channels,
                plan.width,
                stride=plan.stride,
                dilation=plan.dilation,
                offset_dilation=offset_dilation if plan.stage == 5 else None,
                projects=plan.projects,
                modulated=modulated,
                offset_groups={(of, k): offset_groups for s, i, of, k in deformable if (s, i) == place},
                use_global_stats=use_global_stats,
            )

        super().__init__(
            units,
            base_width,
            PaddedMaxPool(3, 2, padding=1),
            unit,
            stage5_stride=stage5_stride,
            stage5_dilation=stage5_dilation,
            use_global_stats=use_global_stats,
        )
