"""Custom operator `proposal`: RPN probabilities and deltas to RoIs (original `operator_py/proposal.py`)."""

import mxnet as mx

from dcn_tasks.proposals import propose
from mxnet_ref.operators.draws import current_draws
from mxnet_ref.operators.guarded import GuardedOp, GuardedProp
from mxnet_ref.operators.literals import number_tuple


class Proposal(GuardedOp):
    name = "proposal"

    def __init__(self, prop: "ProposalProp"):
        super().__init__()
        self.prop = prop

    def compute(self, inputs):
        prob, deltas, im_info = inputs
        if prob.shape[0] != 1:
            raise ValueError(f"proposal: expected one image, got {prob.shape[0]}")
        fg_scores = prob[0, prob.shape[1] // 2 :]  # the first A channels are background
        found = propose(fg_scores, deltas[0], im_info[0], draws=current_draws(), **self.prop.settings)
        return (found.rois, found.scores) if self.prop.output_score else (found.rois,)


@mx.operator.register("proposal")
class ProposalProp(GuardedProp):
    """Inputs cls_prob [1, 2A, H, W], bbox_pred [1, 4A, H, W], im_info [1, 3]; outputs output [post, 5] and, if asked, score [post, 1]."""

    def __init__(
        self,
        feat_stride="16",
        scales="(8, 16, 32)",
        ratios="(0.5, 1, 2)",
        output_score="False",
        rpn_pre_nms_top_n="6000",
        rpn_post_nms_top_n="300",
        threshold="0.3",
        rpn_min_size="16",
    ):
        super().__init__()
        self.output_score = output_score == "True"
        self.settings = {
            "feature_stride": int(feat_stride),
            "scales": number_tuple(scales),
            "ratios": number_tuple(ratios),
            "pre_nms_top_n": int(rpn_pre_nms_top_n),
            "post_nms_top_n": int(rpn_post_nms_top_n),
            "nms_thresh": float(threshold),
            "min_size": float(rpn_min_size),
        }

    def list_arguments(self):
        return ["cls_prob", "bbox_pred", "im_info"]

    def list_outputs(self):
        return ["output", "score"] if self.output_score else ["output"]

    def infer_shape(self, in_shape):
        count = self.settings["post_nms_top_n"]
        outputs = [[count, 5], [count, 1]] if self.output_score else [[count, 5]]
        return [in_shape[0], in_shape[1], [in_shape[0][0], 3]], outputs, []

    def create_operator(self, ctx, shapes, dtypes):
        return Proposal(self)
