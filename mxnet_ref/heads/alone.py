"""One half of a detector alone, as the original's alternate training has it: get_symbol_rpn, and get_symbol_rfcn or
get_symbol_rcnn on RoIs that somebody else chose.

Not reproduced: with MXNet's own Proposal the original's get_symbol_rpn forgets its outputs and returns nothing.
"""

from collections.abc import Callable

import mxnet as mx

from dcn_tasks.config import Config
from dcn_tasks.network import NetworkSpec
from mxnet_ref.backbone import backbone_of
from mxnet_ref.heads.rois import IMAGES, Head, in_images, roi_losses, scored
from mxnet_ref.heads.rpn import proposals, rpn_losses, scores_and_deltas

Symbol = mx.sym.Symbol
WRITTEN = {
    "grad_scale": 1.0
}  # what these files of the original write out, and its end-to-end graphs leave at its default


def rpn_alone(spec: NetworkSpec, cfg: Config, is_train: bool, dtype: str) -> Symbol:
    """Training: rpn_cls_prob and rpn_bbox_loss from data, label, bbox_target, bbox_weight. Testing: RoIs [post, 5] and their
    scores [post, 1] from data, im_info. The backbone ends with res4.
    """
    score, deltas = scores_and_deltas(backbone_of(mx.sym.Variable("data"), spec).res4, spec)
    if is_train:
        return mx.sym.Group(list(rpn_losses(score, deltas, cfg, **WRITTEN)))
    im_info = mx.sym.Variable("im_info")
    found = proposals(score, deltas, im_info, spec, cfg.TEST, "rpn_cls_prob", dtype, output_score=True)
    return mx.sym.Group([found[0], found[1]])


def rois_alone(
    spec: NetworkSpec, cfg: Config, is_train: bool, dtype: str, *, head: Callable[[Symbol, NetworkSpec], Head]
) -> Symbol:
    """Training: cls_prob_reshape, bbox_loss_reshape and, of R-FCN with hard example mining, the labels it left, from data,
    rois [1, R, 5], label [1, R], bbox_target and bbox_weight [1, R, 4K]. Testing: cls_prob_reshape and bbox_pred_reshape
    from data and rois.
    """
    data = mx.sym.Variable("data")
    rois = reshaped("rois", 5)
    if not is_train:
        return mx.sym.Group(list(scored(head(backbone_of(data, spec).res5, spec)(rois), spec, cfg, dtype)))
    boxes = 4 * spec.num_reg_classes
    label = mx.sym.Reshape(name="label_reshape", data=mx.sym.Variable("label"), shape=(-1,))
    target, weight = reshaped("bbox_target", boxes), reshaped("bbox_weight", boxes)
    outputs = head(backbone_of(data, spec).res5, spec)(rois)
    label, cls_prob, bbox_loss = roi_losses(outputs, label, target, weight, spec, cfg, **WRITTEN)
    pair = in_images(cls_prob, bbox_loss, "bbox_loss_reshape", IMAGES, spec)
    mined = spec.family == "rfcn" and cfg.TRAIN.ENABLE_OHEM  # Faster R-CNN's files leave the labels out
    return mx.sym.Group([*pair, *([mx.sym.BlockGrad(label)] if mined else [])])


def reshaped(name: str, columns: int) -> Symbol:
    """An input as rows, `{name}_reshape`."""
    return mx.sym.Reshape(name=f"{name}_reshape", data=mx.sym.Variable(name), shape=(-1, columns))
