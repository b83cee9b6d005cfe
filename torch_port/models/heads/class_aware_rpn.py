"""The head of the class-aware region proposal network."""

from torch import Tensor, nn

from torch_port.layers import AnchorCandidates, ChannelSoftmax


class ClassAwareRPNHead(nn.Module):
    """Classifies and refines A anchors at every position of the stage 5 map (Dai et al. 2017, section 2.3).

    Args:
        in_channels: channels of the stage 5 map. width: channels after the 1x1 reduction.
        hidden: channels of the 3x3 convolution; 0: none (the paper's text has one, its parameter count has not).
        num_classes: C, with background. feature_stride, scales, ratios, top_n: as AnchorCandidates.
    Source: the paper; names as in the RPN of the original.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = 1024,
        hidden: int = 512,
        num_classes: int = 21,
        feature_stride: int = 16,
        scales: tuple[float, ...] = (8, 16, 32),
        ratios: tuple[float, ...] = (0.5, 1, 2),
        top_n: int = 6000,
    ):
        super().__init__()
        self.num_anchors = len(scales) * len(ratios)
        self.reduce = nn.Conv2d(in_channels, width, 1)
        self.reduce_relu = nn.ReLU()
        self.has_hidden = hidden > 0
        if self.has_hidden:
            self.conv = nn.Conv2d(width, hidden, 3, padding=1)
            self.relu = nn.ReLU()
        self.cls_score = nn.Conv2d(hidden or width, num_classes * self.num_anchors, 1)
        self.bbox_pred = nn.Conv2d(hidden or width, 4 * self.num_anchors, 1)
        self.softmax = ChannelSoftmax(classes=num_classes)
        self.candidates = AnchorCandidates(feature_stride=feature_stride, scales=scales, ratios=ratios, top_n=top_n)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 5 map [N, D, H, W] -> logits [N, C*A, H, W], class-major, and box deltas [N, 4A, H, W]."""
        x = self.reduce_relu(self.reduce(features))
        if self.has_hidden:
            x = self.relu(self.conv(x))
        return self.cls_score(x), self.bbox_pred(x)
