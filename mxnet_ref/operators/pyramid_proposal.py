"""Custom operator `pyramid_proposal`: RPN probabilities and deltas of all levels to RoIs (original
`fpn/operator_py/pyramid_proposal.py`)."""

import mxnet as mx

from dcn_tasks.proposals import propose_from_pyramid
from mxnet_ref.operators.draws import current_draws
from mxnet_ref.operators.literals import number_tuple
from mxnet_ref.operators.proposal import RegionProposal, RegionProposalProp, foreground


class PyramidProposal(RegionProposal):
    name = "pyramid_proposal"

    def propose(self, maps, im_info):
        levels = len(self.prop.settings["feature_strides"])
        scores, deltas = [foreground(prob) for prob in maps[:levels]], [each[0] for each in maps[levels:]]
        return propose_from_pyramid(scores, deltas, im_info, draws=current_draws(), **self.prop.settings)


@mx.operator.register("pyramid_proposal")
class PyramidProposalProp(RegionProposalProp):
    """Inputs rpn_cls_prob_strideS [1, 2A, H, W] of every stride S, rpn_bbox_pred_strideS [1, 4A, H, W], im_info [1, 3];
    outputs as RegionProposalProp."""

    def __init__(
        self,
        feat_stride="(64, 32, 16, 8, 4)",
        scales="(8,)",
        rpn_pre_nms_top_n="12000",
        rpn_post_nms_top_n="2000",
        **shared,
    ):
        super().__init__(scales, rpn_pre_nms_top_n, rpn_post_nms_top_n, **shared)
        self.settings["feature_strides"] = tuple(int(stride) for stride in number_tuple(feat_stride))

    def list_arguments(self):
        strides = self.settings["feature_strides"]
        names = [f"rpn_{kind}_stride{stride}" for kind in ("cls_prob", "bbox_pred") for stride in strides]
        return [*names, "im_info"]

    def create_operator(self, ctx, shapes, dtypes):
        return PyramidProposal(self)
