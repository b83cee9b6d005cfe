"""Networks that turn an image into feature maps."""

from torch_port.models.backbone.aligned_inception_resnet import AlignedInceptionResNet, InceptionUnit
from torch_port.models.backbone.resnet import Bottleneck, ResNet
from torch_port.models.backbone.stages import StagedBackbone, Stages

__all__ = ["AlignedInceptionResNet", "Bottleneck", "InceptionUnit", "ResNet", "StagedBackbone", "Stages"]
