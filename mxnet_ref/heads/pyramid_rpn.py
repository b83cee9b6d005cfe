"""The region proposal network on every level of a pyramid, one set of weights for all, with the original's node names."""

from typing import NamedTuple

import mxnet as mx

from dcn_tasks.config import Config
from dcn_tasks.network import NetworkSpec
from mxnet_ref.heads.rpn import RPN, channel_softmax
from mxnet_ref.neck import Pyramid

Symbol = mx.sym.Symbol


class Level(NamedTuple):
    """score [1, 2, A*H*W], prob [1, 2A, H, W], delta [1, 4A, H*W] for the loss and deltas [1, 4A, H, W] for proposals."""

    score: Symbol
    prob: Symbol
    delta: Symbol
    deltas: Symbol


def pyramid_rpn_train(maps: Pyramid, im_info: Symbol, spec: NetworkSpec, cfg: Config, dtype: str) -> RPN:
    """Proposals and the two losses of the training graph."""
    levels = all_levels(maps, spec, dtype)
    label, target, weight = (mx.sym.Variable(name=name) for name in ("label", "bbox_target", "bbox_weight"))
    score = mx.sym.Concat(*(level.score for level in levels.values()), dim=2)
    delta = mx.sym.Concat(*(level.delta for level in levels.values()), dim=2)
    cls_prob = mx.sym.SoftmaxOutput(
        name="rpn_cls_prob", data=score, label=label, multi_output=True, normalization="valid", use_ignore=True, ignore_label=-1
    )  # fmt: skip
    loss = weight * mx.sym.smooth_l1(name="rpn_bbox_loss_l1", scalar=3.0, data=delta - target)
    bbox_loss = mx.sym.MakeLoss(name="rpn_bbox_loss", data=loss, grad_scale=1.0 / cfg.TRAIN.RPN_BATCH_SIZE)
    return RPN(proposals(levels, im_info, spec, cfg.TRAIN), cls_prob, bbox_loss)


def pyramid_rpn_test(maps: Pyramid, im_info: Symbol, spec: NetworkSpec, cfg: Config, dtype: str) -> RPN:
    """Proposals of the test graph."""
    return RPN(proposals(all_levels(maps, spec, dtype), im_info, spec, cfg.TEST))


def all_levels(maps: Pyramid, spec: NetworkSpec, dtype: str) -> dict[str, Level]:
    """Every level by name, p2 to p6."""
    layers = ("rpn_conv", "rpn_cls_score", "rpn_bbox_pred")
    shared = {f"{layer}_{part}": mx.sym.Variable(f"{layer}_{part}") for layer in layers for part in ("weight", "bias")}
    return {level: one_level(level, data, shared, spec, dtype) for level, data in maps._asdict().items()}


def one_level(level: str, data: Symbol, shared: dict[str, Symbol], spec: NetworkSpec, dtype: str) -> Level:
    def convolution(layer: str, source: Symbol, channels: int, side: int) -> Symbol:
        return mx.sym.Convolution(
            name=f"{layer}_{level}", data=source, weight=shared[f"{layer}_weight"], bias=shared[f"{layer}_bias"],
            kernel=(side, side), pad=(side // 2, side // 2), num_filter=channels,
        )  # fmt: skip

    x = convolution("rpn_conv", data, spec.rpn_width, 3)
    x = mx.sym.Activation(name=f"rpn_relu_{level}", data=x, act_type="relu")
    score = convolution("rpn_cls_score", x, 2 * spec.num_anchors, 1)
    deltas = convolution("rpn_bbox_pred", x, 4 * spec.num_anchors, 1)
    grouped = mx.sym.Reshape(name=f"rpn_cls_score_t1_{level}", data=score, shape=(0, 2, -1, 0))
    flat = mx.sym.Reshape(name=f"rpn_cls_score_t2_{level}", data=grouped, shape=(0, 2, -1))
    prob = channel_softmax(f"rpn_cls_prob_{level}", grouped, dtype)
    prob = mx.sym.Reshape(name=f"rpn_cls_prob_t_{level}", data=prob, shape=(0, 2 * spec.num_anchors, -1, 0))
    delta = mx.sym.Reshape(name=f"rpn_bbox_pred_t_{level}", data=deltas, shape=(0, 0, -1))
    return Level(flat, prob, delta, deltas)


def proposals(levels: dict[str, Level], im_info: Symbol, spec: NetworkSpec, phase: Config) -> Symbol:
    """Node `rois` [post, 5]: the original's Python operator; MXNet's own Proposal knows one level only."""
    inputs = {"im_info": im_info}
    for level, stride in zip(levels.values(), spec.feature_strides, strict=True):
        inputs |= {f"rpn_cls_prob_stride{stride}": level.prob, f"rpn_bbox_pred_stride{stride}": level.deltas}
    return mx.sym.Custom(
        name="rois", op_type="pyramid_proposal", **inputs, feat_stride=spec.feature_strides, scales=spec.anchor_scales,
        ratios=spec.anchor_ratios, rpn_pre_nms_top_n=phase.RPN_PRE_NMS_TOP_N, rpn_post_nms_top_n=phase.RPN_POST_NMS_TOP_N,
        threshold=phase.RPN_NMS_THRESH, rpn_min_size=phase.RPN_MIN_SIZE,
    )  # fmt: skip
