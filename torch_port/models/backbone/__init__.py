"""Networks that turn an image into feature maps."""

from torch_port.models.backbone.resnet import Bottleneck, ResNet, Stages

__all__ = ["Bottleneck", "ResNet", "Stages"]
