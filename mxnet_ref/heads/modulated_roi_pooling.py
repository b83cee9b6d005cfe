"""Modulated deformable RoI pooling (DCNv2), as in the original's DCNv2_op/example_symbol.py, with its names.

Bins at rest (two samples per side) pass two fully connected layers and a third that gives three numbers per bin: x and y
offsets, and a mask that passes a plain sigmoid (2 * sigmoid is the convolution's). The example leaves the slices, the
reshapes, the sigmoid and the product unnamed: roi_offset_t, roi_offset, roi_mask_t, roi_mask_sigmoid, roi_mask and
modulated_deform_roi_pool here. How its layers start it does not say: N(0, 0.01) here, the last one zeros.
"""

import mxnet as mx

from dcn_tasks.network import NetworkSpec

Symbol = mx.sym.Symbol
SAMPLES_PER_PART = 2


def modulated_roi_pool(data: Symbol, rois: Symbol, spec: NetworkSpec, *, trans_std: float) -> Symbol:
    """[R, head_width, P, P] from maps [1, head_width, H, W] and RoIs [R, 5]."""
    side = spec.pooled_size
    bins = side * side
    part = {
        "data": data, "rois": rois, "group_size": 1, "pooled_size": side, "sample_per_part": SAMPLES_PER_PART,
        "part_size": side, "output_dim": spec.head_width, "spatial_scale": 1 / spec.feature_stride,
    }  # fmt: skip
    pool = mx.contrib.sym.DeformablePSROIPooling
    x = pool(name="roi_align", no_trans=True, **part)
    for name in ("fc_deform_1", "fc_deform_2"):
        x = mx.sym.FullyConnected(name=name, data=x, num_hidden=spec.fc_width)
        x = mx.sym.Activation(name=f"{name}_relu", data=x, act_type="relu")
    guides = mx.sym.FullyConnected(name="fc_deform_3", data=x, num_hidden=3 * bins)
    offset = mx.sym.slice_axis(name="roi_offset_t", data=guides, axis=1, begin=0, end=2 * bins)
    offset = mx.sym.Reshape(name="roi_offset", data=offset, shape=(-1, 2, side, side))
    mask = mx.sym.slice_axis(name="roi_mask_t", data=guides, axis=1, begin=2 * bins, end=None)
    mask = mx.sym.Activation(name="roi_mask_sigmoid", data=mask, act_type="sigmoid")
    mask = mx.sym.Reshape(name="roi_mask", data=mask, shape=(-1, 1, side, side))
    moved = pool(name="deform_roi_pool", trans=offset, no_trans=False, trans_std=trans_std, **part)
    return mx.sym.broadcast_mul(moved, mask, name="modulated_deform_roi_pool")
