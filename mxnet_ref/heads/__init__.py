"""Heads of the reference networks."""

from mxnet_ref.heads.deeplab import deeplab_test, deeplab_train
from mxnet_ref.heads.rfcn import rfcn_test, rfcn_train
from mxnet_ref.heads.rpn import RPN, rpn_test, rpn_train

__all__ = ["RPN", "deeplab_test", "deeplab_train", "rfcn_test", "rfcn_train", "rpn_test", "rpn_train"]
