"""What a family of networks is trained for: the arrays its training graph takes and gives, its batches and its numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dcn_tasks.batch import training_batch
from dcn_tasks.config import Config
from dcn_tasks.images import to_network_input
from dcn_tasks.network import NetworkSpec
from dcn_tasks.scenes import Scene
from dcn_tasks.segmentation import segmentation_batch, segmentation_metrics
from dcn_tasks.streams import Draws
from dcn_tasks.training_metrics import all_metrics, rpn_metrics

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Task:
    """One kind of problem.

    data_names, label_names: arrays of a training batch, as the original splits them.
    output_names: of the training graph's outputs, in its order.
    losses: those `metrics` that are losses. shown: those that a progress bar shows.
    batch: (scene, configuration, draws) -> training batch. metrics: (outputs by name, batch) -> numbers by name.
    inputs: (image, configuration) -> inputs of the original's test graph.
    """

    name: str
    data_names: tuple[str, ...]
    label_names: tuple[str, ...]
    output_names: tuple[str, ...]
    losses: tuple[str, ...]
    shown: tuple[str, ...]
    batch: Callable[[Scene, Config, Draws], dict[str, np.ndarray]]
    metrics: Callable[[Arrays, Arrays], dict[str, float]]
    inputs: Callable[[np.ndarray, Config], dict[str, np.ndarray]]

    @property
    def batch_names(self) -> tuple[str, ...]:
        return self.data_names + self.label_names


def detection_inputs(image: np.ndarray, cfg: Config) -> dict[str, np.ndarray]:
    data, im_info = to_network_input(image, cfg)
    return {"data": data, "im_info": im_info}


def segmentation_inputs(image: np.ndarray, cfg: Config) -> dict[str, np.ndarray]:
    """softmax_label is asked for and never read: the original's test graph ends in a loss."""
    data, _ = to_network_input(image, cfg)
    return {"data": data, "softmax_label": np.zeros((1, 1, *data.shape[2:]), np.float32)}


DETECTION = Task(
    name="detection",
    data_names=("data", "im_info", "gt_boxes"),
    label_names=("label", "bbox_target", "bbox_weight"),
    output_names=("rpn_cls_prob", "rpn_bbox_loss", "cls_prob", "bbox_loss", "label"),
    losses=("RPNLogLoss", "RPNL1Loss", "RCNNLogLoss", "RCNNL1Loss"),
    shown=("RPNLogLoss", "RPNL1Loss", "RCNNAcc", "RCNNLogLoss", "RCNNL1Loss"),
    batch=lambda scene, cfg, draws: training_batch(scene.image, scene.gt_boxes, cfg, draws),
    metrics=lambda outputs, batch: all_metrics(outputs, batch["label"]),
    inputs=detection_inputs,
)
ANCHOR_DETECTION = Task(  # one stage: anchors are classified at once
    name="anchor detection",
    data_names=("data",),
    label_names=("label", "bbox_target", "bbox_weight"),
    output_names=("rpn_cls_prob", "rpn_bbox_loss"),
    losses=("RPNLogLoss", "RPNL1Loss"),
    shown=("RPNAcc", "RPNLogLoss", "RPNL1Loss"),
    batch=lambda scene, cfg, draws: training_batch(scene.image, scene.gt_boxes, cfg, draws),
    metrics=lambda outputs, batch: rpn_metrics(outputs, batch["label"]),
    inputs=detection_inputs,
)
SEGMENTATION = Task(
    name="segmentation",
    data_names=("data",),
    label_names=("label",),
    output_names=("softmax",),
    losses=("FCNLogLoss",),
    shown=("FCNLogLoss",),
    batch=lambda scene, cfg, draws: segmentation_batch(scene.image, scene.labels, cfg, draws),
    metrics=lambda outputs, batch: segmentation_metrics(outputs["softmax"], batch["label"]),
    inputs=segmentation_inputs,
)


TASKS = {"deeplab": SEGMENTATION, "class_aware_rpn": ANCHOR_DETECTION}  # by family; the others have two stages


def task_of(cfg: Config) -> Task:
    """The task of a configuration's network."""
    return TASKS.get(NetworkSpec.from_config(cfg).family, DETECTION)
