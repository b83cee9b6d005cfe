"""Custom operator `BoxAnnotatorOHEM`: only the hardest RoIs keep their label (original `operator_py/box_annotator_ohem.py`)."""

import mxnet as mx

from dcn_tasks.ohem import select_hard_rois


class BoxAnnotatorOHEM(mx.operator.CustomOp):
    def __init__(self, rois_per_image: int):
        super().__init__()
        self.rois_per_image = rois_per_image

    def forward(self, is_train, req, in_data, out_data, aux):
        arrays = [array.asnumpy() for array in in_data]
        for output, how, value in zip(
            out_data, req, select_hard_rois(*arrays, rois_per_image=self.rois_per_image), strict=True
        ):
            self.assign(output, how, mx.nd.array(value, dtype=output.dtype))

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        for gradient, how in zip(in_grad, req, strict=True):
            self.assign(gradient, how, 0)


@mx.operator.register("BoxAnnotatorOHEM")
class BoxAnnotatorOHEMProp(mx.operator.CustomOpProp):
    """Inputs cls_score [R, C], bbox_pred [R, 4K], labels [R], bbox_targets, bbox_weights [R, 4K]; outputs labels_ohem [R], bbox_weights_ohem [R, 4K]."""

    def __init__(self, num_classes, num_reg_classes, roi_per_img):
        super().__init__(need_top_grad=False)
        self.rois_per_image = int(roi_per_img)

    def list_arguments(self):
        return ["cls_score", "bbox_pred", "labels", "bbox_targets", "bbox_weights"]

    def list_outputs(self):
        return ["labels_ohem", "bbox_weights_ohem"]

    def infer_shape(self, in_shape):
        return in_shape, [in_shape[2], in_shape[4]], []

    def create_operator(self, ctx, shapes, dtypes):
        return BoxAnnotatorOHEM(self.rois_per_image)

    def declare_backward_dependency(self, out_grad, in_data, out_data):
        return []
