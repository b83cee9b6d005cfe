"""From a configuration to a graph of the original."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mxnet as mx

import mxnet_ref.operators  # noqa: F401, registers the original's Python operators
from dcn_tasks.config import Config, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec
from mxnet_ref.backbone import backbone_of, resnet
from mxnet_ref.heads import (
    class_aware_rpn_test,
    class_aware_rpn_train,
    deeplab_test,
    deeplab_train,
    fpn_head,
    pyramid_rpn_test,
    pyramid_rpn_train,
    rcnn_head,
    rfcn_head,
    rois_alone,
    rois_test,
    rois_train,
    rpn_alone,
    rpn_test,
    rpn_train,
)
from mxnet_ref.heads.rois import Head
from mxnet_ref.neck import pyramid
from mxnet_ref.trace import Names, NetworkSymbol

WHOLE = "end2end"
OFFSET_OUTPUTS = {  # what the original's demos draw
    "deform_conv_demo": ("res5a_branch2b_offset", "res5b_branch2b_offset", "res5c_branch2b_offset"),
    "deform_psroi_demo": ("rfcn_cls_offset",),
}


def build_symbol(
    config: str | Path | Config, is_train: bool, *, dtype: str = "float32", part: str = WHOLE, **overrides: Any
) -> mx.sym.Symbol:
    """The training or test graph of a configuration.

    Args:
        config: a name under configs/, a path to a YAML file, or a loaded configuration.
        is_train: with losses and targets (inputs data, im_info, gt_boxes, label, bbox_target, bbox_weight), or for
            detection (inputs data, im_info).
        dtype: "float64" swaps SoftmaxActivation and Crop, which have no float64, for the same functions.
        part: "end2end", the original's get_symbol; of R-FCN and Faster R-CNN also "rpn", its get_symbol_rpn, or "rcnn", its
            get_symbol_rfcn or get_symbol_rcnn on given RoIs: inputs and outputs in mxnet_ref/heads/alone.py.
        overrides: configuration keys, GROUP__KEY for a key of a group.
    Returns: mx.sym.Symbol with automatic names counted from 0. Outputs in training: rpn_cls_prob, rpn_bbox_loss,
        cls_prob_reshape, bbox_loss_reshape, blockgrad0; in detection: rois, cls_prob_reshape, bbox_pred_reshape, and in
        the demos' graphs the offsets they draw before these.
    Raises: InputError for an unknown configuration, key, network or part.
    """
    if dtype not in ("float32", "float64"):
        raise InputError(f"build_symbol: dtype: expected float32 or float64, got {dtype!r}")
    cfg = load_config(config, **overrides)
    spec = NetworkSpec.from_config(cfg)
    with Names() as names:
        outputs = builder(spec, part)(spec, cfg, is_train, dtype)
    drawn = () if is_train or part == "rpn" else OFFSET_OUTPUTS.get(cfg.symbol, ())
    return as_network(outputs, names.given, drawn)


def two_stage(
    spec: NetworkSpec, cfg: Config, is_train: bool, dtype: str, *, head: Callable[[mx.sym.Symbol, NetworkSpec], Head]
) -> mx.sym.Symbol:
    """RPN on res4 and a head on res5. head: (res5, spec) -> the head."""
    data, im_info = mx.sym.Variable("data"), mx.sym.Variable("im_info")
    gt_boxes = mx.sym.Variable("gt_boxes") if is_train else None
    backbone = backbone_of(data, spec)
    if is_train:
        rpn = rpn_train(backbone.res4, im_info, spec, cfg, dtype)
        return rois_train(rpn, gt_boxes, head(backbone.res5, spec), spec, cfg)
    rpn = rpn_test(backbone.res4, im_info, spec, cfg, dtype)
    return rois_test(rpn, head(backbone.res5, spec), spec, cfg, dtype)


def fpn(spec: NetworkSpec, cfg: Config, is_train: bool, dtype: str) -> mx.sym.Symbol:
    """RPN and head on a pyramid."""
    data, im_info = mx.sym.Variable("data"), mx.sym.Variable("im_info")
    maps = pyramid(resnet(data, spec), spec)
    head = fpn_head(maps, spec, dtype)
    if is_train:
        rpn = pyramid_rpn_train(maps, im_info, spec, cfg, dtype)
        return rois_train(rpn, mx.sym.Variable("gt_boxes"), head, spec, cfg)
    return rois_test(pyramid_rpn_test(maps, im_info, spec, cfg, dtype), head, spec, cfg, dtype)


def deeplab(spec: NetworkSpec, cfg: Config, is_train: bool, dtype: str) -> mx.sym.Symbol:
    data = mx.sym.Variable("data")
    if is_train:
        label = mx.sym.Variable("label")
        return deeplab_train(resnet(data, spec).res5, data, label, spec, dtype)
    return deeplab_test(resnet(data, spec).res5, data, spec, dtype)


def class_aware_rpn(spec: NetworkSpec, cfg: Config, is_train: bool, dtype: str) -> mx.sym.Symbol:
    feature = resnet(mx.sym.Variable("data"), spec).res5
    return class_aware_rpn_train(feature, spec, cfg) if is_train else class_aware_rpn_test(feature, spec, cfg, dtype)


FAMILIES = {
    "rfcn": partial(two_stage, head=rfcn_head),
    "rcnn": partial(two_stage, head=rcnn_head),
    "class_aware_rpn": class_aware_rpn,
    "fpn": fpn,
    "deeplab": deeplab,
}


PARTS = {  # by family, what alternate training has of it
    family: {"rpn": rpn_alone, "rcnn": partial(rois_alone, head=head)}
    for family, head in (("rfcn", rfcn_head), ("rcnn", rcnn_head))
}


def builder(spec: NetworkSpec, part: str) -> Callable[..., mx.sym.Symbol]:
    """(spec, cfg, is_train, dtype) -> graph. Raises: InputError for a family or a part of it that is not built."""
    if spec.family not in FAMILIES:
        raise InputError(f"build_symbol: expected one of the families {', '.join(FAMILIES)}, got {spec.family!r}")
    parts = {WHOLE: FAMILIES[spec.family], **PARTS.get(spec.family, {})}
    if part not in parts:
        raise InputError(f"build_symbol: part: expected {' or '.join(parts)} of {spec.family}, got {part!r}")
    return parts[part]


def as_network(outputs: mx.sym.Symbol, names: list[str], drawn: Sequence[str]) -> NetworkSymbol:
    """The graph with the order of its nodes' making, and with the drawn nodes as outputs in front of its own."""
    internals = outputs.get_internals() if drawn else outputs
    heads = [*(internals[f"{name}_output"] for name in drawn), *outputs]
    network = mx.sym.Group(heads, create_fn=NetworkSymbol)
    network.names_in_order = tuple(names)
    return network
