"""DeepLab: backbone, head, and the training graph around them."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from dcn_tasks.errors import InputError
from dcn_tasks.segmentation import IGNORED_LABEL
from dcn_tasks.streams import Draws
from torch_port.models.backbone import ResNet
from torch_port.models.heads.deeplab import DeepLabHead
from torch_port.models.losses import SoftmaxOutput
from torch_port.models.replay import ReplayReport, replaying


@dataclass
class SegmentationOutputs:
    """The output of the original's training graph, and the loss.

    softmax: [N, C, H, W] probabilities, detached. loss: [] its gradient is MXNet's. terms: the losses by name.
    replayed: what replay changed, when there was one.
    """

    softmax: Tensor
    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    replayed: ReplayReport | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """The output by name, for dcn_tasks.segmentation."""
        return {"softmax": self.softmax.cpu().numpy()}


class SegmentationLosses(nn.Module):
    """The one loss term, `seg`: cross-entropy over the pixels that have a class."""

    def __init__(self) -> None:
        super().__init__()
        self.seg = SoftmaxOutput(ignore_label=IGNORED_LABEL)


class DeepLab(nn.Module):
    """DeepLab or deformable DeepLab (Chen et al. 2015; Dai et al. 2017).

    Args: backbone, head: the two parts.
    """

    def __init__(self, backbone: ResNet, head: DeepLabHead):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.losses = SegmentationLosses()

    def logits(self, data: Tensor) -> Tensor:
        """[N, 3, H, W], RGB minus the means -> [N, C, H, W]."""
        return self.head(self.backbone(data).stage5, data)

    def forward(self, data: Tensor) -> Tensor:
        """Class probabilities of every pixel.

        Args: data: [N, 3, H, W], RGB minus the means.
        Returns: [N, C, H, W]; its argmax over C is the label map.
        Source: the original's test graph, output softmax.
        """
        return self.head.softmax(self.logits(data))

    def forward_train(
        self, batch: Mapping[str, np.ndarray | Tensor], draws: Draws, replay: Mapping[str, np.ndarray] | None = None
    ) -> SegmentationOutputs:
        """One training forward.

        Args:
            batch: what dcn_tasks.segmentation.segmentation_batch returns: data [N, 3, H, W], label [N, 1, H, W].
            draws: not used; the other families need them.
            replay: decisions of another run, for torch_port.models.replay.replaying; None decides freely.
        Raises: InputError when an array is missing or their sizes differ.
        """
        data, label = self.to_tensors(batch)
        with replaying(self, replay) if replay is not None else nullcontext() as report:
            logits = self.logits(data)
        term = self.losses.seg(logits, label[:, 0])
        return SegmentationOutputs(term.output, term.scalar, {"seg": term.scalar.detach()}, report)

    def to_tensors(self, batch: Mapping[str, np.ndarray | Tensor]) -> tuple[Tensor, Tensor]:
        """Data in the network's dtype and on its device, and labels, after a look at what they hold."""
        missing = [name for name in ("data", "label") if name not in batch]
        if missing:
            raise InputError(
                f"DeepLab.forward_train: expected a batch with data and label; missing: {', '.join(missing)}: build it "
                "with dcn_tasks.segmentation.segmentation_batch"
            )
        data, label = torch.as_tensor(batch["data"]), torch.as_tensor(batch["label"])
        wanted = (data.shape[0], 1, *data.shape[2:])
        if label.shape != wanted:
            raise InputError(f"DeepLab.forward_train: label: expected {list(wanted)}, got {list(label.shape)}")
        return data.to(self.head.fc6.weight), label.to(self.head.fc6.weight.device)
