"""What a configuration says about its network, framework-neutral: both sides build from this."""

import difflib
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Any

from dcn_tasks.config import Config
from dcn_tasks.errors import InputError


@dataclass(frozen=True)
class SymbolFile:
    """What one of the original's symbol files writes out; the `network` group of a configuration changes it by name.

    deform_conv: which units have a deformable convolution: those of the stages 3, 4, 5 counted from the last one, so that
    (0, 0, 3) is res5a, res5b and res5c. offset_dilation: None: as the convolution that the offsets are for.
    """

    family: str
    deform_conv: tuple[int, int, int] = (0, 0, 0)
    deform_roi_pooling: bool = False
    head_width: int = 1024
    pooled_size: int = 7
    num_deformable_group: int = 4
    res5_dilation: int = 2
    offset_dilation: int | None = None


RES5 = (0, 0, 3)
PYRAMID_STRIDES = (4, 8, 16, 32, 64)  # of P2 to P6
SYMBOLS = {  # by `symbol`; the family is what both frameworks, the rules and the calibration dispatch on
    "resnet_v1_101_rfcn": SymbolFile("rfcn"),
    "resnet_v1_101_rfcn_dcn": SymbolFile("rfcn", RES5, True),
    "deform_conv_demo": SymbolFile("rfcn", RES5, num_deformable_group=1, offset_dilation=1),
    "deform_psroi_demo": SymbolFile("rfcn", deform_roi_pooling=True, pooled_size=3),
    "resnet_v1_101_rcnn": SymbolFile("rcnn", head_width=256),
    "resnet_v1_101_rcnn_dcn": SymbolFile("rcnn", RES5, True, head_width=256),
    "resnet_v1_101_fpn_rcnn": SymbolFile("fpn", head_width=256, res5_dilation=1),
    "resnet_v1_101_fpn_dcn_rcnn": SymbolFile("fpn", (1, 1, 3), True, head_width=256, res5_dilation=1),
    # ours, the paper has no code for it: one offset group, as in all its tables
    "resnet_v1_101_class_aware_rpn": SymbolFile("class_aware_rpn", num_deformable_group=1),
    "resnet_v1_101_class_aware_rpn_dcn": SymbolFile("class_aware_rpn", RES5, num_deformable_group=1),
    "resnet_v1_101_deeplab": SymbolFile("deeplab", num_deformable_group=1, offset_dilation=1),
    "resnet_v1_101_deeplab_dcn": SymbolFile("deeplab", RES5, num_deformable_group=1, offset_dilation=1),
}
RESNET, TORCHVISION, ALIGNED = "resnet_v1", "resnet_v1_torchvision", "aligned_inception_resnet"
# network.BACKBONE -> the 3x3 convolutions of a unit, and their width's divisor
BACKBONES = {
    RESNET: {"branch2b": 1},
    TORCHVISION: {"branch2b": 1},
    ALIGNED: {"branch2b": 1, "branch3b": 2, "branch3c": 2},
}
ALIGNED_FAMILIES = ("rfcn", "rcnn")  # which the paper builds on Aligned-Inception-ResNet
RESNET_101 = (3, 4, 23, 3)  # its Caffe layout numbers the units of res3 and res4: res3b1, res4b1 ..


@dataclass(frozen=True)
class NetworkSpec:
    """One network. Widths in channels; stages are 2 to 5 as in res2..res5."""

    family: str
    units: tuple[int, int, int, int]
    base_width: int
    head_width: int
    fc_width: int
    rpn_width: int
    pooled_size: int
    use_global_stats: bool
    deform_conv_units: tuple[str, ...]
    deform_roi_pooling: bool
    num_deformable_group: int
    num_classes: int
    class_agnostic: bool
    anchor_scales: tuple[float, ...]
    anchor_ratios: tuple[float, ...]
    feature_stride: int | tuple[int, ...]  # of a pyramid: one per level
    res5_dilation: int = 2  # of res5's 3x3 convolutions
    offset_dilation: int | None = None  # of res5's offset convolutions; None: as the convolution they serve
    backbone: str = RESNET
    modulated_conv: bool = False  # deformable convolutions have masks too (DCNv2)
    modulated_roi_pooling: bool = False  # so has deformable RoI pooling; Faster R-CNN's
    level_side: int = 224  # image pixels; RoIs with sides of this are pooled from P4 of a pyramid

    @property
    def feature_strides(self) -> tuple[int, ...]:
        """Image pixels per cell of every map that is proposed from; of a pyramid those of its levels, if there is one only."""
        if self.family == "fpn" and isinstance(self.feature_stride, int):
            return PYRAMID_STRIDES
        return (self.feature_stride,) if isinstance(self.feature_stride, int) else tuple(self.feature_stride)

    @property
    def num_anchors(self) -> int:
        """Anchors per cell."""
        return len(self.anchor_scales) * len(self.anchor_ratios)

    @property
    def num_reg_classes(self) -> int:
        """Box regressions per RoI: background and object, or one per class."""
        return 2 if self.class_agnostic else self.num_classes

    @property
    def stride_on_3x3(self) -> bool:
        """Whether a ResNet unit strides in its 3x3 convolution, as torchvision's, and not in the 1x1 before it."""
        return self.backbone == TORCHVISION

    def dilation(self, stage: int) -> int:
        """Of a stage's 3x3 convolutions, in pixels of its input."""
        return self.res5_dilation if stage == 5 else 1

    def dilation_of_offsets(self, stage: int) -> int:
        """Of the convolutions that predict a stage's offsets; offset_dilation is stage 5's."""
        return (self.offset_dilation if stage == 5 else None) or self.dilation(stage)

    def unit_names(self, stage: int) -> list[str]:
        """Caffe's names of a stage's units, e.g. 4a, 4b1 .. 4b22 for stage 4 of ResNet-101."""
        count = self.units[stage - 2]
        numbered = count > len(ascii_lowercase) or (self.units == RESNET_101 and stage in (3, 4))
        if numbered:
            return [f"{stage}a"] + [f"{stage}b{index}" for index in range(1, count)]
        return [f"{stage}{ascii_lowercase[index]}" for index in range(count)]

    def convolutions_3x3(self) -> dict[str, int]:
        """Channels of the units' 3x3 convolutions by node name, in the graph's order: {"res2a_branch2b": 64, ..}."""
        return {
            f"res{name}_{branch}": self.base_width * 2 ** (stage - 2) // divisor
            for stage in range(2, 6)
            for name in self.unit_names(stage)
            for branch, divisor in BACKBONES[self.backbone].items()
        }

    @property
    def deformable_convolutions(self) -> tuple[str, ...]:
        """Node names of the deformable 3x3 convolutions, in the graph's order."""
        named = self.deform_conv_units
        return tuple(name for name in self.convolutions_3x3() if name in named or name.rpartition("_")[0] in named)

    @staticmethod
    def from_config(cfg: Config) -> "NetworkSpec":
        """Raises: InputError for an unknown `symbol` or unit, or counts that do not fit each other."""
        if cfg.symbol not in SYMBOLS:
            raise InputError(f"config: symbol: expected one of {', '.join(SYMBOLS)}, got {cfg.symbol!r}")
        symbol, network = SYMBOLS[cfg.symbol], cfg.network

        def chosen(key: str) -> Any:
            """The configuration's value, else the symbol file's."""
            value = network[key]
            return getattr(symbol, key.lower()) if value is None else value

        spec = NetworkSpec(
            family=symbol.family,
            units=tuple(network.UNITS),
            base_width=network.BASE_WIDTH,
            head_width=chosen("HEAD_WIDTH"),
            fc_width=network.FC_WIDTH,
            rpn_width=network.RPN_WIDTH,
            pooled_size=chosen("POOLED_SIZE"),
            use_global_stats=network.USE_GLOBAL_STATS,
            deform_conv_units=tuple(network.DEFORM_CONV_UNITS or ()),
            deform_roi_pooling=chosen("DEFORM_ROI_POOLING"),
            num_deformable_group=chosen("NUM_DEFORMABLE_GROUP"),
            num_classes=cfg.dataset.NUM_CLASSES,
            class_agnostic=cfg.CLASS_AGNOSTIC,
            anchor_scales=tuple(network.ANCHOR_SCALES),
            anchor_ratios=tuple(network.ANCHOR_RATIOS),
            feature_stride=network.RPN_FEAT_STRIDE,
            res5_dilation=chosen("RES5_DILATION"),
            offset_dilation=chosen("OFFSET_DILATION"),
            backbone=network.BACKBONE,
            modulated_conv=network.MODULATED_CONV,
            modulated_roi_pooling=network.MODULATED_ROI_POOLING,
            level_side=network.FPN_LEVEL_SIDE,
        )
        spec.check_backbone()
        spec.check_strides()
        if spec.num_anchors != network.NUM_ANCHORS:
            raise InputError(
                f"config: network.NUM_ANCHORS: expected {spec.num_anchors} (scales times ratios), got {network.NUM_ANCHORS}"
            )
        spec.check_one_stage()
        if network.DEFORM_CONV_UNITS is None:
            counts = symbol.deform_conv
            if spec.backbone == ALIGNED and counts == RES5:
                counts = (0, 0, 1)  # the last three 3x3 convolutions are all in the last unit
            last = [
                name for stage, count in zip((3, 4, 5), counts, strict=True) for name in spec.last_units(stage, count)
            ]
            spec = replace(spec, deform_conv_units=tuple(f"res{name}" for name in last))
        spec.check_deformable_units()
        return spec

    def check_backbone(self) -> None:
        """Raises: InputError for an unknown backbone, a family it is not built for, or a width it cannot halve."""
        if self.backbone not in BACKBONES:
            raise InputError(f"config: network.BACKBONE: expected one of {', '.join(BACKBONES)}, got {self.backbone!r}")
        if self.backbone == ALIGNED and self.family not in ALIGNED_FAMILIES:
            raise InputError(
                f"config: network.BACKBONE: {ALIGNED} is built for {' and '.join(ALIGNED_FAMILIES)}, as in the paper, not "
                f"for {self.family}: use {RESNET}"
            )
        if self.modulated_roi_pooling and not (self.family == "rcnn" and self.deform_roi_pooling):
            raise InputError(
                "config: network.MODULATED_ROI_POOLING: expected deformable RoI pooling of Faster R-CNN (rcnn), the one that "
                f"the original's DCNv2 example has masks for, got {self.family} "
                f"{'with' if self.deform_roi_pooling else 'without'} deformable RoI pooling: leave it false"
            )
        if self.backbone == ALIGNED and self.base_width % 2:
            raise InputError(
                f"config: network.BASE_WIDTH: expected an even number for {ALIGNED}, got {self.base_width}"
            )

    def check_one_stage(self) -> None:
        """Raises: InputError for what only a class-aware RPN has, or what it cannot have."""
        one_stage = self.family == "class_aware_rpn"
        if one_stage and not self.class_agnostic:
            raise InputError("config: CLASS_AGNOSTIC: expected true, boxes of a class-aware RPN are those of an RPN")
        if one_stage and self.deform_roi_pooling:
            raise InputError("config: network.DEFORM_ROI_POOLING: a class-aware RPN pools no RoIs: leave it out")
        if self.rpn_width < (0 if one_stage else 1):
            raise InputError(
                f"config: network.RPN_WIDTH: expected at least 1 channel, got {self.rpn_width}: 0, no hidden convolution, is "
                "for the class-aware RPN"
            )

    def check_strides(self) -> None:
        """Raises: InputError unless there is one stride, or one per level of a pyramid."""
        wanted = 5 if self.family == "fpn" else 1
        if len(self.feature_strides) != wanted:
            raise InputError(
                f"config: network.RPN_FEAT_STRIDE: expected {'one per level, 5' if wanted == 5 else 'one'}, got "
                f"{list(self.feature_strides)}"
            )

    def last_units(self, stage: int, count: int) -> list[str]:
        """Names of a stage's last units, at most as many as it has; for stage 5 of the original 3 are all."""
        names = self.unit_names(stage)
        return names[max(len(names) - count, 0) :]

    def check_deformable_units(self) -> None:
        """Raises: InputError for a deformable unit that does not exist, or whose channels the groups do not divide."""
        convolutions = self.convolutions_3x3()
        known = {name.rpartition("_")[0]: None for name in convolutions}  # units, in their order
        if self.backbone == ALIGNED:  # or one convolution of a unit
            known |= dict.fromkeys(convolutions)
        for unit in self.deform_conv_units:
            if unit not in known:
                near = difflib.get_close_matches(unit, known, n=1, cutoff=0)[0]
                raise InputError(f"config: network.DEFORM_CONV_UNITS: no unit {unit!r}: did you mean {near}?")
        for name in self.deformable_convolutions:
            if convolutions[name] % self.num_deformable_group:
                raise InputError(
                    f"config: network.NUM_DEFORMABLE_GROUP: expected a divisor of the {convolutions[name]} channels of "
                    f"{name}, got {self.num_deformable_group}"
                )
