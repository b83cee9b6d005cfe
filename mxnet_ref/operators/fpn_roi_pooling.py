"""Custom operator `fpn_roi_pooling`: every RoI pooled from the level of its size, plainly or at learned positions (original
`fpn/operator_py/fpn_roi_pooling.py`), by MXNet's own ROIPooling and DeformablePSROIPooling.

Not reproduced: the original appends its gradient buffers to a list with every training forward and hands back the first
ones of it. A level that no RoI falls into then returns what an earlier step left there; here its gradient is zero. It
also keeps every buffer for ever; here those of a training forward stay until its backward or the next forward. And where
the original feeds an empty level one RoI of zeros, nothing is computed here.
"""

from collections.abc import Sequence

import mxnet as mx
import numpy as np

from dcn_tasks.pyramid import levels_of
from mxnet_ref.operators.guarded import GuardedOp, GuardedProp, keep_failure

SAMPLES_PER_PART = 4
TRANS_STD = 0.1


class FPNROIPooling(GuardedOp):
    name = "fpn_roi_pooling"

    def __init__(self, prop: "FPNROIPoolingProp"):
        super().__init__()
        self.prop = prop
        self.recorded: tuple[list[mx.nd.NDArray], list[mx.nd.NDArray]] | None = None  # the last training forward's

    def forward(self, is_train, req, in_data, out_data, aux):
        self.recorded = None
        try:
            if is_train:
                self.recorded = self.record(in_data)
            outputs = self.recorded[1] if self.recorded else self.pooled(in_data)
        except Exception as error:
            keep_failure(self.name, error)
            outputs = [mx.nd.zeros_like(output) for output in out_data]
        for output, how, value in zip(out_data, req, outputs, strict=True):
            self.assign(output, how, value)

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        super().backward(req, out_grad, in_data, out_data, in_grad, aux)
        try:
            sources, outputs = self.recorded or self.record(in_data)
            self.recorded = None
            mx.autograd.backward(outputs, list(out_grad))
            for array, gradient, how in zip(sources, in_grad, req, strict=False):
                self.assign(gradient, how, array.grad)
        except Exception as error:
            keep_failure(self.name, error)

    def record(self, inputs: Sequence[mx.nd.NDArray]) -> tuple[list[mx.nd.NDArray], list[mx.nd.NDArray]]:
        """Copies of the maps and layers with gradients attached, and what was pooled from them, for one backward pass."""
        sources = [array.copy() for array in inputs[:-1]]
        for array in sources:
            array.attach_grad()
        with mx.autograd.record():
            return sources, self.pooled([*sources, inputs[-1]])

    def pooled(self, inputs: Sequence[mx.nd.NDArray]) -> list[mx.nd.NDArray]:
        """[R, D, P, P], and where deformable the offsets [R, 2, P, P] too, in the order of the RoIs."""
        prop, rois = self.prop, inputs[-1].asnumpy()
        count = len(prop.strides)
        level = levels_of(rois, count, prop.level_side)
        places = [np.flatnonzero(level == index) for index in range(count)]
        found = []
        for index, (data, rows) in enumerate(zip(inputs[:count], places, strict=True)):
            if len(rows):
                own = mx.nd.array(rois[rows], dtype=data.dtype)
                layer = inputs[count + 2 * index : count + 2 * index + 2] if prop.with_deformable else ()
                found.append(self.pool_level(data, own, 1.0 / prop.strides[index], *layer))
        order = mx.nd.array(np.argsort(np.concatenate(places), kind="stable"), dtype="int64")
        return [mx.nd.take(mx.nd.concat(*parts, dim=0), order) for parts in zip(*found, strict=True)]

    def pool_level(self, data, rois, scale, weight=None, bias=None) -> tuple:
        side = self.prop.pooled_size
        if weight is None:
            return (mx.nd.ROIPooling(data, rois, pooled_size=(side, side), spatial_scale=scale),)
        settings = {
            "group_size": 1,
            "pooled_size": side,
            "part_size": side,
            "sample_per_part": SAMPLES_PER_PART,
            "output_dim": self.prop.output_dim,
            "spatial_scale": scale,
        }
        regular = mx.nd.contrib.DeformablePSROIPooling(data, rois, no_trans=True, **settings)
        offset = mx.nd.FullyConnected(regular, weight, bias, num_hidden=2 * side * side).reshape((-1, 2, side, side))
        moved = mx.nd.contrib.DeformablePSROIPooling(
            data, rois, offset, no_trans=False, trans_std=TRANS_STD, **settings
        )
        return moved, offset


@mx.operator.register("fpn_roi_pooling")
class FPNROIPoolingProp(GuardedProp):
    """Inputs data_p2 .. data_p5 [1, D, H, W]; with_deformable also offset_weight_pK [2*P*P, D*P*P] and offset_bias_pK
    [2*P*P] of every level; rois [R, 5]. Outputs output [R, D, P, P] and, with_deformable, offset [R, 2, P, P], which the
    original keeps to itself: no node reads it, parity does.

    level_side: ours; the original's is 224.
    """

    def __init__(
        self,
        feat_strides="(4, 8, 16, 32)",
        pooled_height="7",
        pooled_width="7",
        with_deformable="False",
        output_dim="256",
        level_side="224",
    ):
        super().__init__()
        if pooled_height != pooled_width:
            raise ValueError(f"fpn_roi_pooling: expected square bins, got {pooled_height} x {pooled_width}")
        self.strides = tuple(int(part) for part in feat_strides.strip("()").split(","))
        self.pooled_size, self.output_dim = int(pooled_height), int(output_dim)
        self.with_deformable = with_deformable == "True"
        self.level_side = float(level_side)

    def list_arguments(self):
        levels = [f"p{2 + index}" for index in range(len(self.strides))]
        names = [f"data_{level}" for level in levels]
        if self.with_deformable:
            names += [f"offset_{part}_{level}" for level in levels for part in ("weight", "bias")]
        return [*names, "rois"]

    def list_outputs(self):
        return ["output", "offset"] if self.with_deformable else ["output"]

    def infer_shape(self, in_shape):
        side, rois, channels = self.pooled_size, in_shape[-1], in_shape[0][1]
        offsets = 2 * side * side
        count = len(self.strides)
        layers = [[offsets, channels * side * side], [offsets]] * count if self.with_deformable else []
        outputs = [[rois[0], channels, side, side]]
        if self.with_deformable:
            outputs.append([rois[0], 2, side, side])
        return [*in_shape[:count], *layers, rois], outputs, []

    def create_operator(self, ctx, shapes, dtypes):
        return FPNROIPooling(self)
