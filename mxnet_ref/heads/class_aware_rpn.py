"""The class-aware region proposal network: anchors on res5 that are classified at once, with no second stage.

The paper only (section 2.3 and its experiments): its code is not in the original. Names are those of the original's RPN and
of its reduction of res5. RPN_WIDTH 0 leaves the hidden 3x3 convolution out, which the paper's parameter count asks for and
its text does not.
"""

import mxnet as mx

from dcn_tasks.config import Config
from dcn_tasks.network import NetworkSpec
from mxnet_ref.heads.rpn import channel_softmax, rpn_losses

Symbol = mx.sym.Symbol


def class_aware_rpn_train(feature: Symbol, spec: NetworkSpec, cfg: Config) -> Symbol:
    """The training graph's outputs: rpn_cls_prob [1, C, A*H, W] and rpn_bbox_loss [1, 4A, H, W]; inputs as rpn_losses."""
    return mx.sym.Group(list(rpn_losses(*scores_and_deltas(feature, spec), cfg)))


def class_aware_rpn_test(feature: Symbol, spec: NetworkSpec, cfg: Config, dtype: str) -> Symbol:
    """The test graph's outputs: candidates (anchors) [N, 5], cls_prob_reshape [1, N, C], bbox_pred_reshape [1, N, 8]."""
    score, deltas = scores_and_deltas(feature, spec)
    prob = channel_softmax("rpn_cls_prob", score, dtype)
    channels = spec.num_classes * spec.num_anchors
    prob = mx.sym.Reshape(name="rpn_cls_prob_reshape", data=prob, shape=(0, channels, -1, 0))
    rois, prob, deltas = mx.sym.Custom(
        name="candidates", op_type="anchor_candidates", cls_prob=prob, bbox_pred=deltas, feat_stride=spec.feature_stride,
        scales=spec.anchor_scales, ratios=spec.anchor_ratios, top_n=cfg.TEST.RPN_PRE_NMS_TOP_N,
    )  # fmt: skip
    prob = mx.sym.Reshape(name="cls_prob_reshape", data=prob, shape=(1, -1, spec.num_classes))
    deltas = mx.sym.Reshape(name="bbox_pred_reshape", data=deltas, shape=(1, -1, 4 * spec.num_reg_classes))
    return mx.sym.Group([rois, prob, deltas])


def scores_and_deltas(feature: Symbol, spec: NetworkSpec) -> tuple[Symbol, Symbol]:
    """rpn_cls_score_reshape [1, C, A*H, W] and rpn_bbox_pred [1, 4A, H, W]."""
    x = mx.sym.Convolution(name="conv_new_1", data=feature, kernel=(1, 1), num_filter=spec.head_width)
    x = mx.sym.Activation(name="conv_new_1_relu", data=x, act_type="relu")
    if spec.rpn_width:
        x = mx.sym.Convolution(name="rpn_conv_3x3", data=x, kernel=(3, 3), pad=(1, 1), num_filter=spec.rpn_width)
        x = mx.sym.Activation(name="rpn_relu", data=x, act_type="relu")
    channels = spec.num_classes * spec.num_anchors
    score = mx.sym.Convolution(name="rpn_cls_score", data=x, kernel=(1, 1), num_filter=channels)
    deltas = mx.sym.Convolution(name="rpn_bbox_pred", data=x, kernel=(1, 1), num_filter=4 * spec.num_anchors)
    return mx.sym.Reshape(name="rpn_cls_score_reshape", data=score, shape=(0, spec.num_classes, -1, 0)), deltas
