"""What every head on RoIs has around it: sampled RoIs and two losses in training, a softmax and two outputs in testing."""

import json
from collections.abc import Callable

import mxnet as mx

from dcn_tasks.box_scale import box_normalisation
from dcn_tasks.config import Config, to_plain
from dcn_tasks.network import NetworkSpec
from mxnet_ref.heads.rpn import RPN

Symbol = mx.sym.Symbol
IMAGES = 1  # that a graph sees; TRAIN.BATCH_IMAGES of them follow each other in an update, as on the original's devices
Head = Callable[[Symbol], tuple[Symbol, Symbol]]  # rois [R, 5] -> class logits [R, C], box deltas [R, 4K]


def rois_train(rpn: RPN, gt_boxes: Symbol, head: Head, spec: NetworkSpec, cfg: Config) -> Symbol:
    """The training graph's outputs: rpn_cls_prob, rpn_bbox_loss, cls_prob_reshape, bbox_loss_reshape, blockgrad0."""
    train = cfg.TRAIN
    gt_boxes = mx.sym.Reshape(name="gt_boxes_reshape", data=gt_boxes, shape=(-1, 5))
    rois, label, target, weight = mx.sym.Custom(
        rois=rpn.rois, gt_boxes=gt_boxes, op_type="proposal_target", num_classes=spec.num_reg_classes,
        batch_images=IMAGES, batch_rois=train.BATCH_ROIS, cfg=sampling_settings(cfg), fg_fraction=train.FG_FRACTION,
    )  # fmt: skip
    label, cls_prob, bbox_loss = roi_losses(head(rois), label, target, weight, spec, cfg)
    label = mx.sym.Reshape(name="label_reshape", data=label, shape=(IMAGES, -1))
    cls_prob, bbox_loss = in_images(cls_prob, bbox_loss, "bbox_loss_reshape", IMAGES, spec)
    return mx.sym.Group([rpn.cls_prob, rpn.bbox_loss, cls_prob, bbox_loss, mx.sym.BlockGrad(label)])


def roi_losses(
    scored: tuple[Symbol, Symbol], label: Symbol, target: Symbol, weight: Symbol, spec: NetworkSpec, cfg: Config,
    **written: float,
) -> tuple[Symbol, Symbol, Symbol]:  # fmt: skip
    """Labels [R] that hard example mining left, nodes cls_prob [R, C] and bbox_loss [R, 4K].

    Args: scored: class logits and box deltas. label [R], target and weight [R, 4K]: of the RoIs. written: further attributes
        of the softmax.
    """
    train = cfg.TRAIN
    cls_score, bbox_pred = scored
    rois_per_image = train.BATCH_ROIS_OHEM if train.ENABLE_OHEM else train.BATCH_ROIS
    if train.ENABLE_OHEM:
        label, weight = mx.sym.Custom(
            cls_score=cls_score, bbox_pred=bbox_pred, labels=label, bbox_targets=target, bbox_weights=weight,
            op_type="BoxAnnotatorOHEM", num_classes=spec.num_classes, num_reg_classes=spec.num_reg_classes, roi_per_img=rois_per_image,
        )  # fmt: skip
        ignore = {"use_ignore": True, "ignore_label": -1}
    else:
        ignore = {}
    cls_prob = mx.sym.SoftmaxOutput(
        name="cls_prob", data=cls_score, label=label, normalization="valid", **ignore, **written
    )
    loss = weight * mx.sym.smooth_l1(name="bbox_loss_", scalar=1.0, data=bbox_pred - target)
    return label, cls_prob, mx.sym.MakeLoss(name="bbox_loss", data=loss, grad_scale=1.0 / rois_per_image)


def in_images(cls_prob: Symbol, boxes: Symbol, name: str, images: int, spec: NetworkSpec) -> tuple[Symbol, Symbol]:
    """cls_prob_reshape [images, R, C], and boxes [images, R, 4K] as a node of that name."""
    cls_prob = mx.sym.Reshape(name="cls_prob_reshape", data=cls_prob, shape=(images, -1, spec.num_classes))
    return cls_prob, mx.sym.Reshape(name=name, data=boxes, shape=(images, -1, 4 * spec.num_reg_classes))


def rois_test(rpn: RPN, head: Head, spec: NetworkSpec, cfg: Config, dtype: str) -> Symbol:
    """The test graph's outputs: rois, cls_prob_reshape [1, R, C], bbox_pred_reshape [1, R, 4K].

    As in the original, two nodes of R-FCN are called bbox_pred_reshape: [R, 4K] and the output.
    """
    return mx.sym.Group([rpn.rois, *scored(head(rpn.rois), spec, cfg, dtype)])


def scored(outputs: tuple[Symbol, Symbol], spec: NetworkSpec, cfg: Config, dtype: str) -> tuple[Symbol, Symbol]:
    """Class logits and box deltas of RoIs -> cls_prob_reshape and bbox_pred_reshape, by image."""
    cls_score, bbox_pred = outputs
    if dtype == "float64":
        cls_prob = mx.sym.softmax(name="cls_prob", data=cls_score, axis=1)
    else:
        cls_prob = mx.sym.SoftmaxActivation(name="cls_prob", data=cls_score)
    return in_images(cls_prob, bbox_pred, "bbox_pred_reshape", IMAGES, spec)


def sampling_settings(cfg: Config) -> str:
    """What proposal_target reads of the configuration, as JSON (the original pickled the whole of it)."""
    keys = ("FG_THRESH", "BG_THRESH_HI", "BG_THRESH_LO", "BBOX_WEIGHTS")
    settings = {key.lower(): to_plain(cfg.TRAIN[key]) for key in keys}
    means, stds = box_normalisation(cfg)
    settings |= {"bbox_means": means, "bbox_stds": stds, "class_agnostic": cfg.CLASS_AGNOSTIC}
    if cfg.dataset.MODE != "original":
        settings["padding_from_all"] = False
    return json.dumps(settings, sort_keys=True)
