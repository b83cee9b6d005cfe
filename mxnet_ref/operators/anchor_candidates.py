"""Custom operator `anchor_candidates`: class probabilities and deltas of all anchors to the likeliest ones.

Not the original's, which has no class-aware region proposal network: the paper describes it, section 2.3.
"""

import mxnet as mx

from dcn_tasks.anchor_candidates import anchor_candidates
from mxnet_ref.operators.guarded import GuardedOp, GuardedProp
from mxnet_ref.operators.literals import number_tuple


class AnchorCandidates(GuardedOp):
    name = "anchor_candidates"

    def __init__(self, settings: dict):
        super().__init__()
        self.settings = settings

    def compute(self, inputs):
        prob, deltas = inputs
        if prob.shape[0] != 1:
            raise ValueError(f"anchor_candidates: expected one image, got {prob.shape[0]}")
        found = anchor_candidates(prob[0], deltas[0], **self.settings)
        return found.rois, found.cls_prob, found.bbox_pred


@mx.operator.register("anchor_candidates")
class AnchorCandidatesProp(GuardedProp):
    """Inputs cls_prob [1, C*A, H, W], bbox_pred [1, 4A, H, W]; outputs rois [N, 5], cls_prob [N, C], bbox_pred [N, 8]."""

    def __init__(self, feat_stride, scales, ratios, top_n):
        super().__init__()
        self.settings = {
            "feature_stride": int(feat_stride),
            "scales": number_tuple(scales),
            "ratios": number_tuple(ratios),
            "top_n": int(top_n),
        }

    def list_arguments(self):
        return ["cls_prob", "bbox_pred"]

    def list_outputs(self):
        return ["rois", "cls_prob", "bbox_pred"]

    def infer_shape(self, in_shape):
        (_, channels, height, width), (_, deltas, *_) = in_shape
        anchors = deltas // 4
        count = min(self.settings["top_n"], anchors * height * width)
        return in_shape, [[count, 5], [count, channels // anchors], [count, 8]], []

    def create_operator(self, ctx, shapes, dtypes):
        return AnchorCandidates(self.settings)
