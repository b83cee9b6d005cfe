"""Custom operator `pyramid_proposal`: RPN probabilities and deltas of all levels to RoIs (original
`fpn/operator_py/pyramid_proposal.py`)."""

import mxnet as mx

from dcn_tasks.proposals import propose_from_pyramid
from mxnet_ref.operators.draws import current_draws
from mxnet_ref.operators.guarded import GuardedOp, GuardedProp
from mxnet_ref.operators.literals import number_tuple


class PyramidProposal(GuardedOp):
    name = "pyramid_proposal"

    def __init__(self, prop: "PyramidProposalProp"):
        super().__init__()
        self.prop = prop

    def compute(self, inputs):
        *maps, im_info = inputs
        if im_info.shape[0] != 1:
            raise ValueError(f"pyramid_proposal: expected one image, got {im_info.shape[0]}")
        levels = len(self.prop.settings["feature_strides"])
        fg_scores = [prob[0, prob.shape[1] // 2 :] for prob in maps[:levels]]  # the first A channels are background
        deltas = [each[0] for each in maps[levels:]]
        found = propose_from_pyramid(fg_scores, deltas, im_info[0], draws=current_draws(), **self.prop.settings)
        return (found.rois, found.scores) if self.prop.output_score else (found.rois,)


@mx.operator.register("pyramid_proposal")
class PyramidProposalProp(GuardedProp):
    """Inputs rpn_cls_prob_strideS [1, 2A, H, W] of every stride S, rpn_bbox_pred_strideS [1, 4A, H, W], im_info [1, 3];
    outputs output [post, 5] and, if asked, score [post, 1]."""

    def __init__(
        self,
        feat_stride="(64, 32, 16, 8, 4)",
        scales="(8,)",
        ratios="(0.5, 1, 2)",
        output_score="False",
        rpn_pre_nms_top_n="12000",
        rpn_post_nms_top_n="2000",
        threshold="0.3",
        rpn_min_size="16",
    ):
        super().__init__()
        self.output_score = output_score == "True"
        self.settings = {
            "feature_strides": tuple(int(stride) for stride in number_tuple(feat_stride)),
            "scales": number_tuple(scales),
            "ratios": number_tuple(ratios),
            "pre_nms_top_n": int(rpn_pre_nms_top_n),
            "post_nms_top_n": int(rpn_post_nms_top_n),
            "nms_thresh": float(threshold),
            "min_size": float(rpn_min_size),
        }

    def list_arguments(self):
        strides = self.settings["feature_strides"]
        names = [f"rpn_{kind}_stride{stride}" for kind in ("cls_prob", "bbox_pred") for stride in strides]
        return [*names, "im_info"]

    def list_outputs(self):
        return ["output", "score"] if self.output_score else ["output"]

    def infer_shape(self, in_shape):
        count = self.settings["post_nms_top_n"]
        return [*in_shape[:-1], [1, 3]], [[count, 5], [count, 1]] if self.output_score else [[count, 5]], []

    def create_operator(self, ctx, shapes, dtypes):
        return PyramidProposal(self)
