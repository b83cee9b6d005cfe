"""Two-stage detectors: backbone, region proposal network, head on RoIs, and the training graph around them."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws
from torch_port.layers import ProposalLimits
from torch_port.models.backbone import AlignedInceptionResNet, ResNet, Stages
from torch_port.models.heads import BoxHead, PyramidRPN, RFCNHead, RPNHead
from torch_port.models.losses import SmoothL1Loss, SoftmaxOutput
from torch_port.models.replay import ReplayReport, replaying
from torch_port.models.sampling import HardRoIs, HardRoISelector, ProposalTarget

BATCH_NAMES = ("data", "im_info", "gt_boxes", "label", "bbox_target", "bbox_weight")


@dataclass
class TrainingOutputs:
    """The five outputs of the original's training graph, in its order, and the loss.

    rpn_cls_prob: [1, 2, A*H*W]. rpn_bbox_loss: [1, 4A, H, W]. cls_prob: [1, R, C].
    bbox_loss: [1, R, 4*num_box_classes]. label: [1, R], -1 where hard example mining left the RoI out.
    All five are detached.
    loss: [] sum of `terms`; its gradient is MXNet's. replayed: what replay changed, when there was one.
    """

    rpn_cls_prob: Tensor
    rpn_bbox_loss: Tensor
    cls_prob: Tensor
    bbox_loss: Tensor
    label: Tensor
    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    replayed: ReplayReport | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """The five outputs by name, for dcn_tasks.training_metrics."""
        names = ("rpn_cls_prob", "rpn_bbox_loss", "cls_prob", "bbox_loss", "label")
        return {name: getattr(self, name).cpu().numpy() for name in names}


class Losses(nn.Module):
    """The four loss terms: `rpn_cls`, `rpn_bbox`, `cls`, `bbox`.

    Args:
        rpn_batch_size, rois_per_image: constant divisors of the two box losses.
    """

    def __init__(self, *, rpn_batch_size: int, rois_per_image: int):
        super().__init__()
        self.rpn_cls = SoftmaxOutput()
        self.rpn_bbox = SmoothL1Loss(sigma=3.0, grad_scale=1 / rpn_batch_size)
        self.cls = SoftmaxOutput()
        self.bbox = SmoothL1Loss(sigma=1.0, grad_scale=1 / rois_per_image)


class TwoStage(nn.Module):
    """A detector that scores the RoIs of a region proposal network; R-FCN and Faster R-CNN differ in their head only, FPN's
    both parts look at a pyramid.

    Args:
        backbone, rpn, head: the three parts.
        train_limits, test_limits: how many proposals survive in forward_train and in forward.
        proposal_target: sampler of RoIs. hard_rois: online hard example mining, or None.
        losses: the loss terms.
    """

    def __init__(
        self,
        backbone: ResNet | AlignedInceptionResNet,
        rpn: RPNHead | PyramidRPN,
        head: RFCNHead | BoxHead,
        *,
        train_limits: ProposalLimits,
        test_limits: ProposalLimits,
        proposal_target: ProposalTarget,
        hard_rois: HardRoISelector | None,
        losses: Losses,
    ):
        super().__init__()
        self.backbone = backbone
        self.rpn = rpn
        self.head = head
        self.train_limits = train_limits
        self.test_limits = test_limits
        self.proposal_target = proposal_target
        self.hard_rois = hard_rois
        self.losses = losses

    def forward(self, data: Tensor, im_info: Tensor, draws: Draws | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """RoIs, class probabilities and box deltas.

        Args:
            data: [N, 3, H, W], RGB minus the means. im_info: [N, 3] = H, W in pixels, scale.
            draws: random streams for the padding of proposals; None: Draws(0).
        Returns: rois [R, 5] in network input pixels, cls_prob [R, C], bbox_pred [R, 4*num_box_classes];
            R = N * test_limits.post_nms_top_n.
        Source: the original's test graph: rois, cls_prob_reshape and bbox_pred_reshape, the latter two without the
            batch axis.
        """
        maps = self.features(data)
        rois = self.propose(maps, im_info, draws)
        return rois, *self.score(maps, rois)

    def features(self, data: Tensor) -> Stages:
        """[N, 3, H, W] -> the maps that `propose` and `score` take."""
        return self.backbone(data)

    def rpn_maps(self, maps: Stages) -> Tensor:
        """What `rpn` looks at."""
        return maps.stage4

    def head_maps(self, maps: Stages) -> Tensor:
        """What `head` looks at."""
        return maps.stage5

    def propose(self, maps: Stages, im_info: Tensor, draws: Draws | None = None) -> Tensor:
        """RoIs [R, 5] from the maps of `features`; arguments as in `forward`."""
        return self.rpn(self.rpn_maps(maps), im_info, self.test_limits, draws).rois

    def score(self, maps: Stages, rois: Tensor) -> tuple[Tensor, Tensor]:
        """cls_prob [R, C] and bbox_pred [R, 4*num_box_classes] of any RoIs [R, 5] of the image that the maps show."""
        cls_score, bbox_pred = self.head(self.head_maps(maps), rois)
        return self.head.softmax(cls_score), bbox_pred

    def forward_train(
        self, batch: Mapping[str, np.ndarray | Tensor], draws: Draws, replay: Mapping[str, np.ndarray] | None = None
    ) -> TrainingOutputs:
        """One training forward of one image.

        Args:
            batch: what dcn_tasks.batch.training_batch returns: data [1, 3, H, W], im_info [1, 3], gt_boxes [1, G, 5],
                label [1, A*H*W], bbox_target and bbox_weight [1, 4A, H, W] (of a pyramid: sums over the levels).
            draws: the step's random streams.
            replay: decisions of another run, for torch_port.models.replay.replaying; None decides freely.
        Raises: InputError when an array is missing or there is more than one image.
        """
        tensors = self.to_tensors(batch)
        with replaying(self, replay) if replay is not None else nullcontext() as report:
            maps = self.features(tensors["data"])
            proposed = self.rpn(self.rpn_maps(maps), tensors["im_info"], self.train_limits, draws)
            gt_boxes = tensors["gt_boxes"].reshape(-1, 5)
            samples = self.proposal_target(proposed.rois, gt_boxes, draws)
            cls_score, bbox_pred = self.head(self.head_maps(maps), samples.rois)
            chosen = HardRoIs(samples.labels, samples.bbox_weights)
            if self.hard_rois is not None:
                chosen = self.hard_rois(cls_score, bbox_pred, samples)
        terms = {
            "rpn_cls": self.losses.rpn_cls(proposed.cls_score.unflatten(1, (2, -1)).flatten(2), tensors["label"]),
            "rpn_bbox": self.losses.rpn_bbox(proposed.bbox_pred, tensors["bbox_target"], tensors["bbox_weight"]),
            "cls": self.losses.cls(cls_score, chosen.labels),
            "bbox": self.losses.bbox(bbox_pred, samples.bbox_targets, chosen.bbox_weights),
        }
        return TrainingOutputs(
            rpn_cls_prob=terms["rpn_cls"].output,
            rpn_bbox_loss=terms["rpn_bbox"].output,
            cls_prob=terms["cls"].output[None],
            bbox_loss=terms["bbox"].output[None],
            label=chosen.labels[None],
            loss=torch.stack([term.scalar for term in terms.values()]).sum(),
            terms={name: term.scalar.detach() for name, term in terms.items()},
            replayed=report,
        )

    def to_tensors(self, batch: Mapping[str, np.ndarray | Tensor]) -> dict[str, Tensor]:
        """The batch in the network's dtype and on its device, after a look at what it holds."""
        missing = [name for name in BATCH_NAMES if name not in batch]
        if missing:
            raise InputError(
                f"{type(self).__name__}.forward_train: expected a batch with {', '.join(BATCH_NAMES)}; missing: {', '.join(missing)}: "
                "build it with dcn_tasks.batch.training_batch"
            )
        if len(batch["data"]) != 1:
            raise InputError(
                f"{type(self).__name__}.forward_train: expected one image, data [1, 3, H, W], got {tuple(batch['data'].shape)}: the "
                "original trains on one image per device; call it once per image and add the gradients"
            )
        weight = self.rpn.conv.weight
        wide = torch.promote_types(weight.dtype, torch.float32)  # boxes in bfloat16 would be off by pixels
        tensors = {name: torch.as_tensor(batch[name]).to(weight.device, wide) for name in BATCH_NAMES}
        return tensors | {"data": tensors["data"].to(weight.dtype)}
