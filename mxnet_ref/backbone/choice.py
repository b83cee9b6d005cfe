"""Which backbone a network has."""

import mxnet as mx

from dcn_tasks.network import ALIGNED, NetworkSpec
from mxnet_ref.backbone.aligned_inception_resnet import aligned_inception_resnet
from mxnet_ref.backbone.resnet import Backbone, resnet


def backbone_of(data: mx.sym.Symbol, spec: NetworkSpec) -> Backbone:
    """The backbone that network.BACKBONE names, on images [1, 3, H, W]."""
    return aligned_inception_resnet(data, spec) if spec.backbone == ALIGNED else resnet(data, spec)
