"""Custom operator `proposal`: RPN probabilities and deltas to RoIs (original `operator_py/proposal.py`)."""

from collections.abc import Sequence

import mxnet as mx
import numpy as np

from dcn_tasks.proposals import Proposals, propose
from mxnet_ref.operators.draws import current_draws
from mxnet_ref.operators.guarded import GuardedOp, GuardedProp
from mxnet_ref.operators.literals import number_tuple


class RegionProposal(GuardedOp):
    """What `proposal` and `pyramid_proposal` share. Subclasses propose from their inputs."""

    def __init__(self, prop: "RegionProposalProp"):
        super().__init__()
        self.prop = prop

    def compute(self, inputs):
        *maps, im_info = inputs
        if maps[0].shape[0] != 1:
            raise ValueError(f"{self.name}: expected one image, got {maps[0].shape[0]}")
        found = self.propose(maps, im_info[0])
        return (found.rois, found.scores) if self.prop.output_score else (found.rois,)

    def propose(self, maps: Sequence[np.ndarray], im_info: np.ndarray) -> Proposals:
        """Args: maps: probabilities [1, 2A, H, W], then deltas [1, 4A, H, W]; im_info: [3]."""
        raise NotImplementedError


def foreground(prob: np.ndarray) -> np.ndarray:
    """[1, 2A, H, W] -> [A, H, W]; the first A channels are background."""
    return prob[0, prob.shape[1] // 2 :]


class RegionProposalProp(GuardedProp):
    """Attributes as text; outputs output [post, 5] and, if asked, score [post, 1]."""

    def __init__(
        self,
        scales,
        rpn_pre_nms_top_n,
        rpn_post_nms_top_n,
        ratios="(0.5, 1, 2)",
        output_score="False",
        threshold="0.3",
        rpn_min_size="16",
    ):
        super().__init__()
        self.output_score = output_score == "True"
        self.settings = {
            "scales": number_tuple(scales),
            "ratios": number_tuple(ratios),
            "pre_nms_top_n": int(rpn_pre_nms_top_n),
            "post_nms_top_n": int(rpn_post_nms_top_n),
            "nms_thresh": float(threshold),
            "min_size": float(rpn_min_size),
        }

    def list_outputs(self):
        return ["output", "score"] if self.output_score else ["output"]

    def infer_shape(self, in_shape):
        count = self.settings["post_nms_top_n"]
        outputs = [[count, 5], [count, 1]] if self.output_score else [[count, 5]]
        return [*in_shape[:-1], [in_shape[0][0], 3]], outputs, []


class Proposal(RegionProposal):
    name = "proposal"

    def propose(self, maps, im_info):
        prob, deltas = maps
        return propose(foreground(prob), deltas[0], im_info, draws=current_draws(), **self.prop.settings)


@mx.operator.register("proposal")
class ProposalProp(RegionProposalProp):
    """Inputs cls_prob [1, 2A, H, W], bbox_pred [1, 4A, H, W], im_info [1, 3]; outputs as RegionProposalProp."""

    def __init__(
        self,
        feat_stride="16",
        scales="(8, 16, 32)",
        rpn_pre_nms_top_n="6000",
        rpn_post_nms_top_n="300",
        **shared,
    ):
        super().__init__(scales, rpn_pre_nms_top_n, rpn_post_nms_top_n, **shared)
        self.settings["feature_stride"] = int(feat_stride)

    def list_arguments(self):
        return ["cls_prob", "bbox_pred", "im_info"]

    def create_operator(self, ctx, shapes, dtypes):
        return Proposal(self)
