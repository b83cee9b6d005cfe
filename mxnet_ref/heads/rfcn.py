"""The R-FCN head: position-sensitive score maps, plain or deformable RoI pooling, with the original's node names."""

import json
from typing import NamedTuple

import mxnet as mx

from dcn_tasks.config import Config, to_plain
from dcn_tasks.network import NetworkSpec
from mxnet_ref.heads.rpn import RPN

Symbol = mx.sym.Symbol
TRANS_STD = 0.1
SAMPLES_PER_PART = 4


class Maps(NamedTuple):
    """Position-sensitive maps at stride 16: cls [1, P*P*C, H, W], bbox [1, P*P*4K, H, W]; the offset maps when deformable."""

    cls: Symbol
    bbox: Symbol
    cls_offset: Symbol | None = None
    bbox_offset: Symbol | None = None


def rfcn_train(feature: Symbol, rpn: RPN, gt_boxes: Symbol, spec: NetworkSpec, cfg: Config) -> Symbol:
    """The training graph's outputs: rpn_cls_prob, rpn_bbox_loss, cls_prob_reshape, bbox_loss_reshape, blockgrad0."""
    train = cfg.TRAIN
    gt_boxes = mx.sym.Reshape(name="gt_boxes_reshape", data=gt_boxes, shape=(-1, 5))
    rois, label, target, weight = mx.sym.Custom(
        rois=rpn.rois, gt_boxes=gt_boxes, op_type="proposal_target", num_classes=spec.num_reg_classes,
        batch_images=train.BATCH_IMAGES, batch_rois=train.BATCH_ROIS, cfg=sampling_settings(cfg), fg_fraction=train.FG_FRACTION,
    )  # fmt: skip
    cls_score, bbox_pred = scores_and_deltas(rois, score_maps(feature, spec), spec)
    rois_per_image = train.BATCH_ROIS_OHEM if train.ENABLE_OHEM else train.BATCH_ROIS
    if train.ENABLE_OHEM:
        label, weight = mx.sym.Custom(
            cls_score=cls_score, bbox_pred=bbox_pred, labels=label, bbox_targets=target, bbox_weights=weight,
            op_type="BoxAnnotatorOHEM", num_classes=spec.num_classes, num_reg_classes=spec.num_reg_classes, roi_per_img=rois_per_image,
        )  # fmt: skip
        ignore = {"use_ignore": True, "ignore_label": -1}
    else:
        ignore = {}
    cls_prob = mx.sym.SoftmaxOutput(name="cls_prob", data=cls_score, label=label, normalization="valid", **ignore)
    loss = weight * mx.sym.smooth_l1(name="bbox_loss_", scalar=1.0, data=bbox_pred - target)
    bbox_loss = mx.sym.MakeLoss(name="bbox_loss", data=loss, grad_scale=1.0 / rois_per_image)
    images = train.BATCH_IMAGES
    label = mx.sym.Reshape(name="label_reshape", data=label, shape=(images, -1))
    cls_prob = mx.sym.Reshape(name="cls_prob_reshape", data=cls_prob, shape=(images, -1, spec.num_classes))
    bbox_loss = mx.sym.Reshape(name="bbox_loss_reshape", data=bbox_loss, shape=(images, -1, 4 * spec.num_reg_classes))
    return mx.sym.Group([rpn.cls_prob, rpn.bbox_loss, cls_prob, bbox_loss, mx.sym.BlockGrad(label)])


def rfcn_test(feature: Symbol, rpn: RPN, spec: NetworkSpec, cfg: Config, dtype: str) -> Symbol:
    """The test graph's outputs: rois, cls_prob_reshape [1, R, C], bbox_pred_reshape [1, R, 4K].

    As in the original, two nodes are called bbox_pred_reshape: [R, 4K] and the output.
    """
    cls_score, bbox_pred = scores_and_deltas(rpn.rois, score_maps(feature, spec), spec)
    if dtype == "float64":
        cls_prob = mx.sym.softmax(name="cls_prob", data=cls_score, axis=1)
    else:
        cls_prob = mx.sym.SoftmaxActivation(name="cls_prob", data=cls_score)
    images = cfg.TEST.BATCH_IMAGES
    cls_prob = mx.sym.Reshape(name="cls_prob_reshape", data=cls_prob, shape=(images, -1, spec.num_classes))
    bbox_pred = mx.sym.Reshape(name="bbox_pred_reshape", data=bbox_pred, shape=(images, -1, 4 * spec.num_reg_classes))
    return mx.sym.Group([rpn.rois, cls_prob, bbox_pred])


def score_maps(feature: Symbol, spec: NetworkSpec) -> Maps:
    """conv_new_1 (learning rate times 3) and the 1x1 convolutions after it."""
    bins = spec.pooled_size**2
    x = mx.sym.Convolution(
        name="conv_new_1", data=feature, kernel=(1, 1), num_filter=spec.head_width, attr={"lr_mult": "3.0"}
    )
    x = mx.sym.Activation(name="relu1", data=x, act_type="relu")

    def maps(name: str, channels: int) -> Symbol:
        return mx.sym.Convolution(name=name, data=x, kernel=(1, 1), num_filter=channels)

    plain = Maps(maps("rfcn_cls", bins * spec.num_classes), maps("rfcn_bbox", bins * 4 * spec.num_reg_classes))
    if not spec.deform_roi_pooling:
        return plain
    offsets = maps("rfcn_cls_offset_t", 2 * bins * spec.num_classes), maps("rfcn_bbox_offset_t", 2 * bins)
    return Maps(plain.cls, plain.bbox, *offsets)


def scores_and_deltas(rois: Symbol, maps: Maps, spec: NetworkSpec) -> tuple[Symbol, Symbol]:
    """cls_score_reshape [R, C] and bbox_pred_reshape [R, 4K]: pooled per bin, then averaged over the bins."""
    side = spec.pooled_size
    scale = 1 / spec.feature_stride
    if spec.deform_roi_pooling:
        part = {
            "group_size": side,
            "pooled_size": side,
            "sample_per_part": SAMPLES_PER_PART,
            "part_size": side,
            "spatial_scale": scale,
        }
        pool = mx.contrib.sym.DeformablePSROIPooling
        free = {**part, "rois": rois, "no_trans": True}
        moved = {**part, "rois": rois, "no_trans": False, "trans_std": TRANS_STD}
        cls_offset = pool(name="rfcn_cls_offset", data=maps.cls_offset, output_dim=2 * spec.num_classes, **free)
        bbox_offset = pool(name="rfcn_bbox_offset", data=maps.bbox_offset, output_dim=2, **free)
        cls = pool(name="psroipooled_cls_rois", data=maps.cls, trans=cls_offset, output_dim=spec.num_classes, **moved)
        bbox = pool(
            name="psroipooled_loc_rois", data=maps.bbox, trans=bbox_offset, output_dim=4 * spec.num_reg_classes, **moved
        )
    else:
        part = {"rois": rois, "group_size": side, "pooled_size": side, "spatial_scale": scale}
        pool = mx.contrib.sym.PSROIPooling
        cls = pool(name="psroipooled_cls_rois", data=maps.cls, output_dim=spec.num_classes, **part)
        bbox = pool(name="psroipooled_loc_rois", data=maps.bbox, output_dim=4 * spec.num_reg_classes, **part)
    average = {"pool_type": "avg", "global_pool": True, "kernel": (side, side)}
    cls = mx.sym.Pooling(name="ave_cls_scors_rois", data=cls, **average)
    bbox = mx.sym.Pooling(name="ave_bbox_pred_rois", data=bbox, **average)
    cls = mx.sym.Reshape(name="cls_score_reshape", data=cls, shape=(-1, spec.num_classes))
    bbox = mx.sym.Reshape(name="bbox_pred_reshape", data=bbox, shape=(-1, 4 * spec.num_reg_classes))
    return cls, bbox


def sampling_settings(cfg: Config) -> str:
    """What proposal_target reads of the configuration, as JSON (the original pickled the whole of it)."""
    keys = ("FG_THRESH", "BG_THRESH_HI", "BG_THRESH_LO", "BBOX_MEANS", "BBOX_STDS", "BBOX_WEIGHTS")
    settings = {key.lower(): to_plain(cfg.TRAIN[key]) for key in keys}
    return json.dumps({**settings, "class_agnostic": cfg.CLASS_AGNOSTIC}, sort_keys=True)
