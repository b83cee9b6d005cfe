"""The region proposal network on res4, with the original's node names."""

from typing import NamedTuple

import mxnet as mx

from dcn_tasks.config import Config
from dcn_tasks.network import NetworkSpec

Symbol = mx.sym.Symbol


class RPN(NamedTuple):
    """rois: [post, 5]. cls_prob and bbox_loss: training outputs, None in test graphs."""

    rois: Symbol
    cls_prob: Symbol | None = None
    bbox_loss: Symbol | None = None


def scores_and_deltas(feature: Symbol, spec: NetworkSpec) -> tuple[Symbol, Symbol]:
    """rpn_cls_score_reshape [1, 2, A*H, W] and rpn_bbox_pred [1, 4A, H, W]."""
    x = mx.sym.Convolution(name="rpn_conv_3x3", data=feature, kernel=(3, 3), pad=(1, 1), num_filter=spec.rpn_width)
    x = mx.sym.Activation(name="rpn_relu", data=x, act_type="relu")
    score = mx.sym.Convolution(name="rpn_cls_score", data=x, kernel=(1, 1), pad=(0, 0), num_filter=2 * spec.num_anchors)
    deltas = mx.sym.Convolution(
        name="rpn_bbox_pred", data=x, kernel=(1, 1), pad=(0, 0), num_filter=4 * spec.num_anchors
    )
    return mx.sym.Reshape(name="rpn_cls_score_reshape", data=score, shape=(0, 2, -1, 0)), deltas


def rpn_losses(score: Symbol, deltas: Symbol, cfg: Config, **written: float) -> tuple[Symbol, Symbol]:
    """Nodes rpn_cls_prob and rpn_bbox_loss, of logits [1, C, A*H, W] (C is 2 in an RPN) and deltas [1, 4A, H, W].

    Inputs label [1, A*H*W] (class, 0 background, -1 ignored), bbox_target and bbox_weight [1, 4A, H, W].
    written: further attributes of the softmax.
    """
    label, target, weight = (mx.sym.Variable(name=name) for name in ("label", "bbox_target", "bbox_weight"))
    cls_prob = mx.sym.SoftmaxOutput(
        name="rpn_cls_prob", data=score, label=label, multi_output=True, normalization="valid", use_ignore=True, ignore_label=-1,
        **written,
    )  # fmt: skip
    loss = weight * mx.sym.smooth_l1(name="rpn_bbox_loss_", scalar=3.0, data=deltas - target)
    bbox_loss = mx.sym.MakeLoss(name="rpn_bbox_loss", data=loss, grad_scale=1.0 / cfg.TRAIN.RPN_BATCH_SIZE)
    return cls_prob, bbox_loss


def rpn_train(feature: Symbol, im_info: Symbol, spec: NetworkSpec, cfg: Config, dtype: str) -> RPN:
    """Proposals and the two losses of the training graph."""
    score, deltas = scores_and_deltas(feature, spec)
    cls_prob, bbox_loss = rpn_losses(score, deltas, cfg)
    return RPN(proposals(score, deltas, im_info, spec, cfg.TRAIN, "rpn_cls_act", dtype), cls_prob, bbox_loss)


def rpn_test(feature: Symbol, im_info: Symbol, spec: NetworkSpec, cfg: Config, dtype: str) -> RPN:
    """Proposals of the test graph."""
    score, deltas = scores_and_deltas(feature, spec)
    return RPN(proposals(score, deltas, im_info, spec, cfg.TEST, "rpn_cls_prob", dtype))


def proposals(
    score: Symbol, deltas: Symbol, im_info: Symbol, spec: NetworkSpec, phase: Config, softmax_name: str, dtype: str,
    **written: bool,
) -> Symbol:  # fmt: skip
    """Node `rois` [post, 5]: mx.contrib.Proposal or the original's Python operator, as CXX_PROPOSAL says. written: further
    attributes of it.
    """
    prob = channel_softmax(softmax_name, score, dtype)
    prob = mx.sym.Reshape(name=f"{softmax_name}_reshape", data=prob, shape=(0, 2 * spec.num_anchors, -1, 0))
    settings = {
        "name": "rois",
        "cls_prob": prob,
        "bbox_pred": deltas,
        "im_info": im_info,
        "scales": spec.anchor_scales,
        "ratios": spec.anchor_ratios,
        "rpn_pre_nms_top_n": phase.RPN_PRE_NMS_TOP_N,
        "rpn_post_nms_top_n": phase.RPN_POST_NMS_TOP_N,
        "threshold": phase.RPN_NMS_THRESH,
        "rpn_min_size": phase.RPN_MIN_SIZE,
        **written,
    }
    if phase.CXX_PROPOSAL:
        return mx.contrib.sym.Proposal(feature_stride=spec.feature_stride, **settings)
    return mx.sym.Custom(op_type="proposal", feat_stride=spec.feature_stride, **settings)


def channel_softmax(name: str, data: Symbol, dtype: str) -> Symbol:
    """Softmax over axis 1. SoftmaxActivation has no float64 in MXNet 1.9.1: there, the same function by `softmax`."""
    if dtype == "float64":
        return mx.sym.softmax(name=name, data=data, axis=1)
    return mx.sym.SoftmaxActivation(name=name, data=data, mode="channel")
