"""From a configuration to a graph of the original."""

from pathlib import Path
from typing import Any

import mxnet as mx

import mxnet_ref.operators  # noqa: F401, registers the original's Python operators
from dcn_tasks.config import Config, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec
from mxnet_ref.backbone import resnet
from mxnet_ref.heads import rfcn_test, rfcn_train, rpn_test, rpn_train


def build_symbol(
    config: str | Path | Config, is_train: bool, *, dtype: str = "float32", **overrides: Any
) -> mx.sym.Symbol:
    """The training or test graph of a configuration.

    Args:
        config: a name under configs/, a path to a YAML file, or a loaded configuration.
        is_train: with losses and targets (inputs data, im_info, gt_boxes, label, bbox_target, bbox_weight), or for
            detection (inputs data, im_info).
        dtype: "float64" swaps SoftmaxActivation, which has no float64, for softmax(axis=1).
        overrides: configuration keys, GROUP__KEY for a key of a group.
    Returns: mx.sym.Symbol; automatic names count from 0 in each graph.
    Raises: InputError for an unknown configuration, key or network.
    """
    if dtype not in ("float32", "float64"):
        raise InputError(f"build_symbol: dtype: expected float32 or float64, got {dtype!r}")
    cfg = load_config(config, **overrides)
    spec = NetworkSpec.from_config(cfg)
    with mx.name.NameManager():
        data, im_info = mx.sym.Variable("data"), mx.sym.Variable("im_info")
        gt_boxes = mx.sym.Variable("gt_boxes") if is_train else None
        backbone = resnet(data, spec)
        if is_train:
            rpn = rpn_train(backbone.res4, im_info, spec, cfg, dtype)
            return rfcn_train(backbone.res5, rpn, gt_boxes, spec, cfg)
        return rfcn_test(backbone.res5, rpn_test(backbone.res4, im_info, spec, cfg, dtype), spec, cfg, dtype)
