"""Heads of the reference networks."""

from mxnet_ref.heads.rfcn import rfcn_test, rfcn_train
from mxnet_ref.heads.rpn import RPN, rpn_test, rpn_train

__all__ = ["RPN", "rfcn_test", "rfcn_train", "rpn_test", "rpn_train"]
