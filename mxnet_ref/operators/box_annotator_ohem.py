"""Custom operator `BoxAnnotatorOHEM`: only the hardest RoIs keep their label (original `operator_py/box_annotator_ohem.py`)."""

import mxnet as mx

from dcn_tasks.ohem import select_hard_rois
from mxnet_ref.operators.guarded import GuardedOp, GuardedProp


class BoxAnnotatorOHEM(GuardedOp):
    name = "BoxAnnotatorOHEM"

    def __init__(self, rois_per_image: int):
        super().__init__()
        self.rois_per_image = rois_per_image

    def compute(self, inputs):
        return select_hard_rois(*inputs, rois_per_image=self.rois_per_image)


@mx.operator.register("BoxAnnotatorOHEM")
class BoxAnnotatorOHEMProp(GuardedProp):
    """Inputs cls_score [R, C], bbox_pred [R, 4K], labels [R], bbox_targets, bbox_weights [R, 4K].

    Outputs labels_ohem [R], bbox_weights_ohem [R, 4K].
    """

    def __init__(self, num_classes, num_reg_classes, roi_per_img):
        super().__init__()
        self.rois_per_image = int(roi_per_img)

    def list_arguments(self):
        return ["cls_score", "bbox_pred", "labels", "bbox_targets", "bbox_weights"]

    def list_outputs(self):
        return ["labels_ohem", "bbox_weights_ohem"]

    def infer_shape(self, in_shape):
        return in_shape, [in_shape[2], in_shape[4]], []

    def create_operator(self, ctx, shapes, dtypes):
        return BoxAnnotatorOHEM(self.rois_per_image)
