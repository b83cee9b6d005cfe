"""From a configuration to a network: the only place in torch_port.models that reads one."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from torch import nn

from dcn_tasks.box_scale import box_normalisation
from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.network import ALIGNED, NetworkSpec
from torch_port.layers import ProposalLimits
from torch_port.layers.proposal import Variant
from torch_port.models.backbone import AlignedInceptionResNet, ResNet
from torch_port.models.class_aware_rpn import AnchorLosses, ClassAwareRPN, ClassAwareRPNOutputs
from torch_port.models.deeplab import DeepLab, SegmentationOutputs
from torch_port.models.fpn import FPN
from torch_port.models.heads import (
    ClassAwareRPNHead,
    DeepLabHead,
    FPNHead,
    PyramidRPN,
    RCNNHead,
    RFCNHead,
    RPNHead,
)
from torch_port.models.initial import initialise
from torch_port.models.neck import FPNNeck
from torch_port.models.rcnn import FasterRCNN
from torch_port.models.rfcn import RFCN
from torch_port.models.sampling import HardRoISelector, ProposalTarget
from torch_port.models.two_stage import Losses, TrainingOutputs, TwoStage

STAGES = (2, 3, 4, 5)
Network: TypeAlias = TwoStage | ClassAwareRPN | DeepLab
Outputs: TypeAlias = TrainingOutputs | ClassAwareRPNOutputs | SegmentationOutputs  # of their forward_train


def build_network(cfg: Config) -> Network:
    """The network of a configuration, initialised as in the original, in float32 on the CPU, in training mode.

    Args:
        cfg: from dcn_tasks.config.load_config.
    Raises: InputError for a unit that the backbone does not have, or a family that is not built yet.
    """
    spec = NetworkSpec.from_config(cfg)
    if spec.family not in FAMILIES:
        raise InputError(f"build_network: expected one of the families {', '.join(FAMILIES)}, got {spec.family!r}")
    network = FAMILIES[spec.family](cfg, spec)
    initialise(network)
    return network


def rfcn(cfg: Config, spec: NetworkSpec) -> RFCN:
    head = RFCNHead(
        32 * spec.base_width,
        width=spec.head_width,
        num_classes=spec.num_classes,
        num_box_classes=spec.num_reg_classes,
        pooled_size=spec.pooled_size,
        spatial_scale=1 / spec.feature_strides[0],
        deformable=spec.deform_roi_pooling,
    )
    return RFCN(backbone_of(spec), rpn(cfg, spec), head, **two_stage_arguments(cfg, spec))


def rcnn(cfg: Config, spec: NetworkSpec) -> FasterRCNN:
    head = RCNNHead(
        32 * spec.base_width,
        width=spec.head_width,
        fc_width=spec.fc_width,
        num_classes=spec.num_classes,
        num_box_classes=spec.num_reg_classes,
        pooled_size=spec.pooled_size,
        spatial_scale=1 / spec.feature_strides[0],
        deformable=spec.deform_roi_pooling,
        modulated=spec.modulated_roi_pooling,
    )
    return FasterRCNN(backbone_of(spec), rpn(cfg, spec), head, **two_stage_arguments(cfg, spec))


def fpn(cfg: Config, spec: NetworkSpec) -> FPN:
    if proposal_variant(cfg) != "python":
        raise InputError("CXX_PROPOSAL: expected false, MXNet's own Proposal knows one level only: set both")
    neck = FPNNeck(tuple(4 * spec.base_width * 2**index for index in range(4)), width=spec.head_width)
    rpn_head = PyramidRPN(
        spec.head_width,
        width=spec.rpn_width,
        scales=tuple(spec.anchor_scales),
        ratios=tuple(spec.anchor_ratios),
        feature_strides=spec.feature_strides,
    )
    head = FPNHead(
        spec.head_width,
        strides=spec.feature_strides[:-1],
        pooled_size=spec.pooled_size,
        level_side=spec.level_side,
        deformable=spec.deform_roi_pooling,
        width=spec.fc_width,
        num_classes=spec.num_classes,
        num_box_classes=spec.num_reg_classes,
    )
    return FPN(neck, resnet(spec, stage5_stride=2), rpn_head, head, **two_stage_arguments(cfg, spec))


def rpn(cfg: Config, spec: NetworkSpec) -> RPNHead:
    """The region proposal network on stage 4."""
    return RPNHead(
        16 * spec.base_width,
        width=spec.rpn_width,
        scales=tuple(spec.anchor_scales),
        ratios=tuple(spec.anchor_ratios),
        feature_stride=spec.feature_strides[0],
        proposal_variant=proposal_variant(cfg),
    )


def two_stage_arguments(cfg: Config, spec: NetworkSpec) -> dict[str, Any]:
    """What every TwoStage takes beside its three parts: limits, sampling, losses."""
    train = cfg.TRAIN
    rois_per_image = train.BATCH_ROIS_OHEM if train.ENABLE_OHEM else train.BATCH_ROIS
    return {
        "train_limits": proposal_limits(cfg.TRAIN),
        "test_limits": proposal_limits(cfg.TEST),
        "proposal_target": proposal_target(cfg, spec),
        "hard_rois": HardRoISelector(rois_per_image) if train.ENABLE_OHEM else None,
        "losses": Losses(rpn_batch_size=train.RPN_BATCH_SIZE, rois_per_image=rois_per_image),
    }


def class_aware_rpn(cfg: Config, spec: NetworkSpec) -> ClassAwareRPN:
    head = ClassAwareRPNHead(
        32 * spec.base_width,
        width=spec.head_width,
        hidden=spec.rpn_width,
        num_classes=spec.num_classes,
        feature_stride=spec.feature_strides[0],
        scales=spec.anchor_scales,
        ratios=spec.anchor_ratios,
        top_n=cfg.TEST.RPN_PRE_NMS_TOP_N,
    )
    return ClassAwareRPN(resnet(spec), head, losses=AnchorLosses(rpn_batch_size=cfg.TRAIN.RPN_BATCH_SIZE))


def deeplab(cfg: Config, spec: NetworkSpec) -> DeepLab:
    head = DeepLabHead(32 * spec.base_width, width=spec.head_width, num_classes=spec.num_classes)
    return DeepLab(resnet(spec, offset_bias_lr_mult=OFFSET_BIAS_LR_MULT), head)


FAMILIES: dict[str, Callable[[Config, NetworkSpec], Network]] = {
    "rfcn": rfcn,
    "rcnn": rcnn,
    "class_aware_rpn": class_aware_rpn,
    "fpn": fpn,
    "deeplab": deeplab,
}
OFFSET_BIAS_LR_MULT = 2.0  # of DeepLab's offset convolutions


def backbone_of(spec: NetworkSpec) -> ResNet | AlignedInceptionResNet:
    """The backbone that network.BACKBONE names."""
    return aligned_inception_resnet(spec) if spec.backbone == ALIGNED else resnet(spec)


def aligned_inception_resnet(spec: NetworkSpec) -> AlignedInceptionResNet:
    return AlignedInceptionResNet(
        spec.units,
        base_width=spec.base_width,
        deformable=deformable_places(spec),
        offset_groups=spec.num_deformable_group,
        modulated=spec.modulated_conv,
        stage5_dilation=spec.res5_dilation,
        offset_dilation=spec.offset_dilation,
        use_global_stats=spec.use_global_stats,
    )


PLACES = {"branch2b": ("a", 2), "branch3b": ("b", 2), "branch3c": ("b", 3)}  # of Aligned-Inception-ResNet's 3x3s


def deformable_places(spec: NetworkSpec) -> frozenset[tuple[int, int, str, int]]:
    """("res5c_branch3b", ..) as (stage, 0-based unit, branch, convolution)."""
    units = {f"res{name}": (stage, index) for stage in STAGES for index, name in enumerate(spec.unit_names(stage))}
    named = (name.rpartition("_") for name in spec.deformable_convolutions)
    return frozenset((*units[unit], *PLACES[convolution]) for unit, _, convolution in named)


def resnet(spec: NetworkSpec, *, stage5_stride: int = 1, offset_bias_lr_mult: float = 1.0) -> ResNet:
    """The backbone of a network; the arguments are the family's."""
    return ResNet(
        spec.units,
        base_width=spec.base_width,
        deformable=deformable_units(spec),
        offset_groups=spec.num_deformable_group,
        modulated=spec.modulated_conv,
        offset_bias_lr_mult=offset_bias_lr_mult,
        stage5_stride=stage5_stride,
        stage5_dilation=spec.res5_dilation,
        offset_dilation=spec.offset_dilation,
        torchvision=spec.stride_on_3x3,
        use_global_stats=spec.use_global_stats,
    )


def deformable_units(spec: NetworkSpec) -> frozenset[tuple[int, int]]:
    """("res5a", ...) as (stage, 0-based unit index)."""
    places = {f"res{name}": (stage, index) for stage in STAGES for index, name in enumerate(spec.unit_names(stage))}
    unknown = [unit for unit in spec.deform_conv_units if unit not in places]
    if unknown:
        raise InputError(
            f"network.DEFORM_CONV_UNITS: expected units of this backbone, {', '.join(places)}; got {', '.join(unknown)}"
        )
    return frozenset(places[unit] for unit in spec.deform_conv_units)


def proposal_limits(phase: Config) -> ProposalLimits:
    """The RPN_* keys of cfg.TRAIN or cfg.TEST."""
    return ProposalLimits(
        pre_nms_top_n=phase.RPN_PRE_NMS_TOP_N,
        post_nms_top_n=phase.RPN_POST_NMS_TOP_N,
        nms_thresh=phase.RPN_NMS_THRESH,
        min_size=phase.RPN_MIN_SIZE,
    )


def proposal_variant(cfg: Config) -> Variant:
    """Whose rules proposals follow: the original's Python operator, as in all its configurations, or MXNet's own."""
    if cfg.TRAIN.CXX_PROPOSAL != cfg.TEST.CXX_PROPOSAL:
        raise InputError(
            f"CXX_PROPOSAL: expected the same in TRAIN and TEST, got {cfg.TRAIN.CXX_PROPOSAL} and "
            f"{cfg.TEST.CXX_PROPOSAL}: set both"
        )
    return "cxx" if cfg.TRAIN.CXX_PROPOSAL else "python"


def proposal_target(cfg: Config, spec: NetworkSpec) -> ProposalTarget:
    train = cfg.TRAIN
    means, stds = box_normalisation(cfg)
    return ProposalTarget(
        batch_rois=train.BATCH_ROIS,
        fg_fraction=train.FG_FRACTION,
        fg_thresh=train.FG_THRESH,
        bg_thresh_hi=train.BG_THRESH_HI,
        bg_thresh_lo=train.BG_THRESH_LO,
        num_reg_classes=spec.num_reg_classes,
        class_agnostic=spec.class_agnostic,
        bbox_means=means,
        bbox_stds=stds,
        bbox_weights=tuple(train.BBOX_WEIGHTS),
        padding_from_all=cfg.dataset.MODE == "original",
    )


# FIXED_PARAMS holds pieces of MXNet's parameter names; what each means here, as a pattern of parameter paths
STEM = r"backbone\.stem\."
NORMALISATION = r"backbone\..*\bbn\d?\."
FIXED_PATTERNS = {
    r"conv1": rf"{STEM}(conv|bn)\.",  # also a piece of bn_conv1
    r"bn_conv1": rf"{STEM}bn\.",
    r"res(?P<stage>[2-5])": r"backbone\.stage{stage}\.\d+\.([ab]\.)?(shortcut\.conv|conv\d|offset_conv\d?)\.",
    r"bn(?P<stage>[2-5])": r"backbone\.stage{stage}\.\d+\.([ab]\.)?(shortcut\.bn|bn\d)\.",
    r"gamma": NORMALISATION + r"weight",
    r"beta": NORMALISATION + r"bias",
}


def fixed_parameters(network: nn.Module, fixed: list[str] | tuple[str, ...]) -> list[str]:
    """Paths of the parameters that `network.FIXED_PARAMS` holds still.

    Args:
        fixed: pieces of MXNet's parameter names: conv1, bn_conv1, res2..res5, bn2..bn5, gamma, beta.
    Raises: InputError for any other piece.
    """
    patterns = []
    for piece in fixed:
        for known, pattern in FIXED_PATTERNS.items():
            match = re.fullmatch(known, piece)
            if match:
                patterns.append(pattern.format(**match.groupdict()) if match.groupdict() else pattern)
                break
        else:
            raise InputError(
                f"network.FIXED_PARAMS: expected conv1, bn_conv1, res2..res5, bn2..bn5, gamma or beta, got {piece!r}"
            )
    return [path for path, _ in network.named_parameters() if any(re.match(pattern, path) for pattern in patterns)]
