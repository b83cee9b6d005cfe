"""Feature extractors of the reference networks."""

from mxnet_ref.backbone.resnet import Backbone, resnet

__all__ = ["Backbone", "resnet"]
