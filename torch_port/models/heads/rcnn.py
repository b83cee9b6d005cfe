"""The Faster R-CNN head: RoI pooling, plain or deformable, and two fully connected layers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_port.layers import ChannelSoftmax, DeformPSRoIPool, FullyConnected, ModulatedDeformRoIPool, RoIPool
from torch_port.models.heads.rfcn import SAMPLE_PER_PART, TRANS_STD

OFFSET_LR_MULT = 0.01  # the original's, on the layer that predicts offsets


class BoxHead(nn.Module):
    """Class scores and box deltas from pooled features by two fully connected layers; Faster R-CNN's and FPN's.

    Args:
        in_features: of one pooled RoI, D*P*P. width: of the two layers.
        num_classes: C, with background. num_box_classes: C for boxes per class, 2 for class-agnostic ones.
    Source: the original's fc_new_1 ... bbox_pred.
    """

    def __init__(self, in_features: int, *, width: int = 1024, num_classes: int = 21, num_box_classes: int = 21):
        super().__init__()
        self.fc1 = FullyConnected(in_features, width)
        self.relu1 = nn.ReLU()
        self.fc2 = FullyConnected(width, width)
        self.relu2 = nn.ReLU()
        self.cls_score = FullyConnected(width, num_classes)
        self.bbox_pred = FullyConnected(width, 4 * num_box_classes)
        self.softmax = ChannelSoftmax()

    def classify(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """[R, D, P, P] -> logits [R, C], box deltas [R, 4*num_box_classes]."""
        hidden = self.relu2(self.fc2(self.relu1(self.fc1(pooled))))
        return self.cls_score(hidden), self.bbox_pred(hidden)

    @torch.no_grad()
    def unnormalise_boxes(self, means: Sequence[float], stds: Sequence[float]) -> None:
        """Makes a trained head predict plain box deltas: deltas * stds + means, folded into `bbox_pred`, in place.

        Training regresses deltas from which BBOX_MEANS [4] was taken and which were divided by BBOX_STDS [4]. Do it
        once, before detection, and not before more training.
        Source: the original's do_checkpoint, which saves the result as bbox_pred_{weight,bias}_test.
        """
        weight, bias = self.bbox_pred.weight, self.bbox_pred.bias
        mean, std = (
            torch.tensor(list(values), dtype=torch.float64).repeat(len(bias) // 4).to(bias) for values in (means, stds)
        )
        weight.mul_(std[:, None])
        bias.mul_(std).add_(mean)


class RCNNHead(BoxHead):
    """The head of Faster R-CNN on one feature map (Ren et al. 2015; deformable: Dai et al. 2017).

    Args:
        in_channels: channels of the stage 5 map. width: D, channels after the 1x1 reduction. fc_width: of the two layers.
        num_classes, num_box_classes: as BoxHead.
        pooled_size: P, bins per side. spatial_scale: feature pixels per image pixel.
        deformable: means of bins that move by offsets, which a fully connected layer reads off the bins at rest; else
            maxima of bins.
        modulated: these bins are also multiplied by masks, and the guiding layers are DCNv2's; wants `deformable`.
    Source: the original's conv_new_1 ... bbox_pred.
    """

    pool: DeformPSRoIPool | ModulatedDeformRoIPool | RoIPool

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = 256,
        fc_width: int = 1024,
        num_classes: int = 21,
        num_box_classes: int = 21,
        pooled_size: int = 7,
        spatial_scale: float = 1 / 16,
        deformable: bool = False,
        modulated: bool = False,
    ):
        pooled = width * pooled_size**2
        super().__init__(pooled, width=fc_width, num_classes=num_classes, num_box_classes=num_box_classes)
        self.guided = deformable and not modulated
        self.pooled_size = pooled_size
        self.reduce = nn.Conv2d(in_channels, width, 1)
        self.relu = nn.ReLU()
        grid: dict[str, Any] = {"spatial_scale": spatial_scale, "pooled_size": pooled_size}
        if deformable and modulated:
            self.pool = ModulatedDeformRoIPool(width, fc_width=fc_width, trans_std=TRANS_STD, **grid)
        elif deformable:
            grid |= {"group_size": 1, "sample_per_part": SAMPLE_PER_PART}
            self.offset_pool = DeformPSRoIPool(width, trans_std=0.0, **grid)
            self.offset = FullyConnected(pooled, 2 * pooled_size**2, lr_mult=OFFSET_LR_MULT)
            self.pool = DeformPSRoIPool(width, trans_std=TRANS_STD, **grid)
        else:
            self.pool = RoIPool(**grid)

    def forward(self, features: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 5 map [N, C, H, W], RoIs [R, 5] in image pixels -> logits [R, C], box deltas [R, 4*num_box_classes].

        The softmax is not applied here: training needs the logits.
        """
        hidden = self.relu(self.reduce(features))
        # pooling in half precision would round RoI corners by pixels, so under autocast maps are widened
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        rois = rois.to(hidden.dtype)
        if not self.guided:
            return self.classify(self.pool(hidden, rois))
        offset = self.offset(self.offset_pool(hidden, rois))
        offset = offset.view(-1, 2, self.pooled_size, self.pooled_size).to(hidden.dtype)
        return self.classify(self.pool(hidden, rois, offset))
