"""The Faster R-CNN head: RoI pooling, plain or deformable, and two fully connected layers, with the original's node names."""

import mxnet as mx

from dcn_tasks.network import NetworkSpec
from mxnet_ref.heads.modulated_roi_pooling import modulated_roi_pool
from mxnet_ref.heads.rfcn import SAMPLES_PER_PART, TRANS_STD
from mxnet_ref.heads.rois import Head

Symbol = mx.sym.Symbol
OFFSET_LR_MULT = 0.01


def rcnn_head(feature: Symbol, spec: NetworkSpec) -> Head:
    """The head on a feature map [1, C, H, W] at stride 16; nodes are made when it is called with RoIs."""
    return lambda rois: two_fully_connected(pooled(reduced(feature, spec), rois, spec), spec)


def reduced(feature: Symbol, spec: NetworkSpec) -> Symbol:
    """conv_new_1_relu [1, head_width, H, W]."""
    x = mx.sym.Convolution(name="conv_new_1", data=feature, kernel=(1, 1), num_filter=spec.head_width)
    return mx.sym.Activation(name="conv_new_1_relu", data=x, act_type="relu")


def pooled(data: Symbol, rois: Symbol, spec: NetworkSpec) -> Symbol:
    """[R, head_width, P, P]: maxima of bins, or means of bins that move by offsets from a fully connected layer."""
    side, scale = spec.pooled_size, 1 / spec.feature_stride
    if not spec.deform_roi_pooling:
        return mx.sym.ROIPooling(name="roi_pool", data=data, rois=rois, pooled_size=(side, side), spatial_scale=scale)
    if spec.modulated_roi_pooling:
        return modulated_roi_pool(data, rois, spec, trans_std=TRANS_STD)
    part = {
        "data": data, "rois": rois, "group_size": 1, "pooled_size": side, "sample_per_part": SAMPLES_PER_PART, "part_size": side,
        "output_dim": spec.head_width, "spatial_scale": scale,
    }  # fmt: skip
    pool = mx.contrib.sym.DeformablePSROIPooling
    still = pool(name="offset_t", no_trans=True, **part)
    offset = mx.sym.FullyConnected(
        name="offset", data=still, num_hidden=2 * side * side, attr={"lr_mult": str(OFFSET_LR_MULT)}
    )
    offset = mx.sym.Reshape(name="offset_reshape", data=offset, shape=(-1, 2, side, side))
    return pool(name="deformable_roi_pool", trans=offset, no_trans=False, trans_std=TRANS_STD, **part)


def two_fully_connected(data: Symbol, spec: NetworkSpec) -> tuple[Symbol, Symbol]:
    """cls_score [R, C] and bbox_pred [R, 4K] from pooled features [R, D, P, P]; FPN has the same layers."""
    x = data
    for name in ("fc_new_1", "fc_new_2"):
        x = mx.sym.FullyConnected(name=name, data=x, num_hidden=spec.fc_width)
        x = mx.sym.Activation(name=f"{name}_relu", data=x, act_type="relu")
    cls_score = mx.sym.FullyConnected(name="cls_score", data=x, num_hidden=spec.num_classes)
    bbox_pred = mx.sym.FullyConnected(name="bbox_pred", data=x, num_hidden=4 * spec.num_reg_classes)
    return cls_score, bbox_pred
