"""The DeepLab head: class scores at stride 16, upsampled to the image."""

from torch import Tensor, nn

from torch_port.layers import BilinearDeconvolution, ChannelSoftmax, Crop, RatedConv2d

BIAS_LR_MULT = 2.0  # the original's, on both convolutions


class DeepLabHead(nn.Module):
    """Logits of every pixel from the stage 5 map (Chen et al. 2015, as the original has it: no ASPP, no CRF).

    Args:
        in_channels: channels of the stage 5 map. width: channels after the first 1x1 convolution.
        num_classes: C. stride: image pixels per feature pixel, even.
    Source: the original's fc6 ... croped_score; the Deconvolution has no padding, so the crop starts half a cell inside.
    """

    def __init__(self, in_channels: int, *, width: int = 1024, num_classes: int = 21, stride: int = 16):
        super().__init__()
        self.fc6 = RatedConv2d(in_channels, width, 1, bias_lr_mult=BIAS_LR_MULT)
        self.relu = nn.ReLU()
        self.score = RatedConv2d(width, num_classes, 1, bias_lr_mult=BIAS_LR_MULT)
        self.upsampling = BilinearDeconvolution(num_classes, stride)
        self.crop = Crop(stride // 2)
        self.softmax = ChannelSoftmax()

    def forward(self, features: Tensor, data: Tensor) -> Tensor:
        """Stage 5 map [N, D, FH, FW] of data [N, 3, H, W] -> logits [N, C, H, W]; the softmax is not applied here."""
        return self.crop(self.upsampling(self.score(self.relu(self.fc6(features)))), data)
