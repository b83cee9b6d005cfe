"""The R-FCN head: position-sensitive score maps, plain or deformable RoI pooling, with the original's node names."""

from typing import NamedTuple

import mxnet as mx

from dcn_tasks.network import NetworkSpec
from mxnet_ref.heads.rois import Head

Symbol = mx.sym.Symbol
TRANS_STD = 0.1
SAMPLES_PER_PART = 4


class Maps(NamedTuple):
    """Position-sensitive maps at stride 16: cls [1, P*P*C, H, W], bbox [1, P*P*4K, H, W]; the offset maps when deformable."""

    cls: Symbol
    bbox: Symbol
    cls_offset: Symbol | None = None
    bbox_offset: Symbol | None = None


def rfcn_head(feature: Symbol, spec: NetworkSpec) -> Head:
    """The head on a feature map [1, C, H, W] at stride 16; nodes are made when it is called with RoIs."""
    return lambda rois: scores_and_deltas(rois, score_maps(feature, spec), spec)


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
