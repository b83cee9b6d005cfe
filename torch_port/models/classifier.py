"""A small image classifier, plain or with deformable convolutions."""

from torch import Tensor, nn

from dcn_tasks.classifier import KERNEL, ClassifierSpec
from torch_port.layers import BatchNorm, DeformConv2dPack


class ConvLayer(nn.Module):
    """Convolution, batch normalisation, ReLU; the convolution predicts its own offsets where it is deformable."""

    def __init__(self, inputs: int, width: int, stride: int, deformable: bool):
        super().__init__()
        kind = DeformConv2dPack if deformable else nn.Conv2d
        self.conv = kind(inputs, width, KERNEL, stride, KERNEL // 2, bias=False)
        self.norm = BatchNorm(width, use_global_stats=False)
        self.relu = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F, OH, OW]."""
        return self.relu(self.norm(self.conv(input)))


class Classifier(nn.Module):
    """Source: mxnet_ref.classifier, node for node."""

    def __init__(self, spec: ClassifierSpec):
        super().__init__()
        geometry = zip(spec.inputs, spec.widths, spec.strides, strict=True)
        self.layers = nn.Sequential(
            *(ConvLayer(*each, place in spec.deformable) for place, each in enumerate(geometry))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(spec.widths[-1], spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> logits [N, classes]."""
        return self.fc(self.pool(self.layers(images)).flatten(1))
