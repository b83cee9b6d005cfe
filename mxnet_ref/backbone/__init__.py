"""Feature extractors of the reference networks."""

from mxnet_ref.backbone.aligned_inception_resnet import aligned_inception_resnet
from mxnet_ref.backbone.choice import backbone_of
from mxnet_ref.backbone.resnet import Backbone, resnet

__all__ = ["Backbone", "aligned_inception_resnet", "backbone_of", "resnet"]
