"""The second stage of FPN: RoIs pooled from the level of their size, then two fully connected layers."""

from typing import Any

import mxnet as mx
import numpy as np

from dcn_tasks.network import NetworkSpec
from mxnet_ref.heads.rcnn import OFFSET_LR_MULT, two_fully_connected
from mxnet_ref.heads.rois import Head
from mxnet_ref.neck import Pyramid

Symbol = mx.sym.Symbol
LEVELS = ("p2", "p3", "p4", "p5")  # P6 is for proposals alone
# arguments of the operator that the original leaves at their defaults
DEFAULTS = {"pooled_height": 7, "pooled_width": 7, "output_dim": 256, "level_side": 224}


def fpn_head(maps: Pyramid, spec: NetworkSpec, dtype: str) -> Head:
    """The head on a pyramid; nodes are made when it is called with RoIs."""
    return lambda rois: two_fully_connected(pooled(maps, rois, spec, dtype), spec)


def pooled(maps: Pyramid, rois: Symbol, spec: NetworkSpec, dtype: str) -> Symbol:
    """fpn_roi_pooling [R, head_width, P, P]."""
    inputs = {f"data_{level}": getattr(maps, level) for level in LEVELS}
    attrs: dict[str, Any] = {}
    if spec.deform_roi_pooling:
        for part in ("weight", "bias"):
            for level in LEVELS:
                inputs[f"offset_{part}_{level}"] = mx.sym.Variable(
                    f"offset_{level}_{part}", dtype=np.dtype(dtype), lr_mult=OFFSET_LR_MULT
                )
        attrs["with_deformable"] = True
    sizes = {
        "pooled_height": spec.pooled_size,
        "pooled_width": spec.pooled_size,
        "output_dim": spec.head_width,
        "level_side": spec.level_side,
    }
    attrs |= {name: value for name, value in sizes.items() if value != DEFAULTS[name]}
    return mx.sym.Custom(**inputs, rois=rois, op_type="fpn_roi_pooling", name="fpn_roi_pooling", **attrs)[0]
