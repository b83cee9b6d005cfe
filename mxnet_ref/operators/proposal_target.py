"""Custom operator `proposal_target`: RoIs and ground truth to labelled RoIs (original `operator_py/proposal_target.py`)."""

import json

import mxnet as mx

from dcn_tasks.roi_targets import sample_rois
from mxnet_ref.operators.draws import current_draws
from mxnet_ref.operators.guarded import GuardedOp, GuardedProp


class ProposalTarget(GuardedOp):
    name = "proposal_target"

    def __init__(self, prop: "ProposalTargetProp"):
        super().__init__()
        self.prop = prop

    def compute(self, inputs):
        rois, gt_boxes = inputs
        found = sample_rois(rois, gt_boxes, draws=current_draws(), **self.prop.settings)
        return found.rois, found.labels, found.bbox_targets, found.bbox_weights


@mx.operator.register("proposal_target")
class ProposalTargetProp(GuardedProp):
    """Inputs rois [R, 5], gt_boxes [G, 5]; outputs rois [S, 5], label [S], bbox_target and bbox_weight [S, 4*num_classes].

    num_classes counts box regressions. cfg: JSON of fg_thresh, bg_thresh_hi, bg_thresh_lo, bbox_means, bbox_stds,
    bbox_weights, class_agnostic and, outside of `original` mode, padding_from_all; S is batch_rois, or R + G where batch_rois is -1.
    """

    def __init__(self, num_classes, batch_images="1", batch_rois="128", cfg="{}", fg_fraction="0.25"):
        super().__init__()
        try:
            settings = json.loads(cfg)
        except ValueError as error:
            raise ValueError(
                "proposal_target: cfg: expected JSON; a graph of the original holds a pickle there, which is never loaded: "
                "build the graph from its configuration"
            ) from error
        if int(batch_images) != 1:
            raise ValueError(f"proposal_target: batch_images: expected 1, got {batch_images}")
        self.settings = {
            **settings,
            "num_reg_classes": int(num_classes),
            "batch_rois": int(batch_rois),
            "fg_fraction": float(fg_fraction),
        }

    def list_arguments(self):
        return ["rois", "gt_boxes"]

    def list_outputs(self):
        return ["rois_output", "label", "bbox_target", "bbox_weight"]

    def infer_shape(self, in_shape):
        count = self.settings["batch_rois"]
        count = in_shape[0][0] + in_shape[1][0] if count == -1 else count
        width = 4 * self.settings["num_reg_classes"]
        return in_shape, [[count, 5], [count], [count, width], [count, width]], []

    def create_operator(self, ctx, shapes, dtypes):
        return ProposalTarget(self)
