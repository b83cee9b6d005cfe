"""The class-aware region proposal network: backbone, head, and the training graph around them."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws
from torch_port.models.backbone import AlignedInceptionResNet, ResNet
from torch_port.models.heads.class_aware_rpn import ClassAwareRPNHead
from torch_port.models.losses import SmoothL1Loss, SoftmaxOutput
from torch_port.models.replay import ReplayReport, replaying

BATCH_NAMES = ("data", "label", "bbox_target", "bbox_weight")


@dataclass
class ClassAwareRPNOutputs:
    """The outputs of the reference's training graph, detached, and the loss.

    rpn_cls_prob: [1, C, A*H*W]. rpn_bbox_loss: [1, 4A, H, W]. loss: [] its gradient is MXNet's. terms: the losses by name.
    replayed: what replay changed, when there was one.
    """

    rpn_cls_prob: Tensor
    rpn_bbox_loss: Tensor
    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    replayed: ReplayReport | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """The outputs by name, for dcn_tasks.training_metrics."""
        return {name: getattr(self, name).cpu().numpy() for name in ("rpn_cls_prob", "rpn_bbox_loss")}


class AnchorLosses(nn.Module):
    """The two loss terms: `rpn_cls` and `rpn_bbox`. Args: rpn_batch_size: constant divisor of the box loss."""

    def __init__(self, *, rpn_batch_size: int):
        super().__init__()
        self.rpn_cls = SoftmaxOutput()
        self.rpn_bbox = SmoothL1Loss(sigma=3.0, grad_scale=1 / rpn_batch_size)


class ClassAwareRPN(nn.Module):
    """A detector of one stage: every anchor is classified at once (Dai et al. 2017, section 2.3; "a simplified SSD").

    Args: backbone, rpn: the two parts. losses: the loss terms.
    """

    def __init__(self, backbone: ResNet | AlignedInceptionResNet, rpn: ClassAwareRPNHead, *, losses: AnchorLosses):
        super().__init__()
        self.backbone = backbone
        self.rpn = rpn
        self.losses = losses

    def forward(
        self, data: Tensor, im_info: Tensor | None = None, draws: Draws | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Anchors, class probabilities and box deltas, for dcn_tasks.detections with class-agnostic boxes.

        Args: data: [N, 3, H, W], RGB minus the means. im_info, draws: not used; the other families need them.
        Returns: rois [R, 5] = anchors in network input pixels, cls_prob [R, C], bbox_pred [R, 8].
        """
        score, deltas = self.rpn(self.backbone(data).stage5)
        return self.rpn.candidates(self.rpn.softmax(score), deltas)

    def forward_train(
        self, batch: Mapping[str, np.ndarray | Tensor], draws: Draws, replay: Mapping[str, np.ndarray] | None = None
    ) -> ClassAwareRPNOutputs:
        """One training forward of one image.

        Args:
            batch: what dcn_tasks.batch.training_batch returns; data [1, 3, H, W], label [1, A*H*W], bbox_target and
                bbox_weight [1, 4A, H, W] are read.
            draws: not used; the other families need them.
            replay: decisions of another run, for torch_port.models.replay.replaying; None decides freely.
        Raises: InputError when an array is missing.
        """
        missing = [name for name in BATCH_NAMES if name not in batch]
        if missing:
            raise InputError(
                f"ClassAwareRPN.forward_train: expected a batch with {', '.join(BATCH_NAMES)}; missing: "
                f"{', '.join(missing)}: build it with dcn_tasks.batch.training_batch"
            )
        weight = self.rpn.cls_score.weight
        data, label, target, box_weight = (torch.as_tensor(batch[name]).to(weight) for name in BATCH_NAMES)
        with replaying(self, replay) if replay is not None else nullcontext() as report:
            score, deltas = self.rpn(self.backbone(data).stage5)
        grouped = score.unflatten(1, (-1, self.rpn.num_anchors)).flatten(2)
        terms = {
            "rpn_cls": self.losses.rpn_cls(grouped, label),
            "rpn_bbox": self.losses.rpn_bbox(deltas, target, box_weight),
        }
        return ClassAwareRPNOutputs(
            terms["rpn_cls"].output,
            terms["rpn_bbox"].output,
            terms["rpn_cls"].scalar + terms["rpn_bbox"].scalar,
            {name: term.scalar.detach() for name, term in terms.items()},
            report,
        )
