"""Heads of the reference networks."""

from mxnet_ref.heads.alone import rois_alone, rpn_alone
from mxnet_ref.heads.class_aware_rpn import class_aware_rpn_test, class_aware_rpn_train
from mxnet_ref.heads.deeplab import deeplab_test, deeplab_train
from mxnet_ref.heads.fpn import fpn_head
from mxnet_ref.heads.pyramid_rpn import pyramid_rpn_test, pyramid_rpn_train
from mxnet_ref.heads.rcnn import rcnn_head
from mxnet_ref.heads.rfcn import rfcn_head
from mxnet_ref.heads.rois import rois_test, rois_train
from mxnet_ref.heads.rpn import RPN, rpn_test, rpn_train

__all__ = [
    "RPN",
    "class_aware_rpn_test",
    "class_aware_rpn_train",
    "deeplab_test",
    "deeplab_train",
    "fpn_head",
    "pyramid_rpn_test",
    "pyramid_rpn_train",
    "rcnn_head",
    "rfcn_head",
    "rois_alone",
    "rois_test",
    "rois_train",
    "rpn_alone",
    "rpn_test",
    "rpn_train",
]
