"""One image in, what a network sees in it out: drawn, and as numbers; either framework, either task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dcn_suite.checkpoints import Checkpoint
from dcn_suite.devices import refuse_device_for_mxnet, torch_device
from dcn_suite.pictures import draw_detections, draw_named_labels
from dcn_tasks.class_names import class_names, label_colours
from dcn_tasks.config import Config
from dcn_tasks.detections import Detections
from dcn_tasks.task import SEGMENTATION, task_of

FRAMEWORKS = ("torch", "mxnet")
READABLE_PX = 512  # images of less than half this size are drawn larger


@dataclass(frozen=True)
class Prediction:
    """picture: RGB, the image with what was found. facts: for JSON. labels: uint8 [H, W], of segmentation. summary: a line."""

    picture: np.ndarray
    facts: dict[str, object]
    summary: str
    labels: np.ndarray | None = None


Predictor = Callable[[np.ndarray], Prediction]  # from RGB uint8 [H, W, 3]


def build_predictor(
    cfg: Config, checkpoint: Checkpoint, framework: str, *, threshold: float, device: str | None = None
) -> Predictor:
    """The network of a configuration, ready.

    Args:
        framework: "torch" or "mxnet". threshold: boxes with a lower score are neither drawn nor listed.
        device: PyTorch's; None: the GPU that is there, else the CPU.
    Raises: ModuleNotFoundError without the framework; InputError where TEST asks for what the network cannot do, or for a device
        that is not there.
    """
    model = build_model(cfg, checkpoint, framework, device)
    names = class_names(cfg)
    if task_of(cfg) is SEGMENTATION:
        colours = label_colours(cfg)
        return lambda image: of_labels(image, model(image)[0], names, colours)
    return lambda image: of_boxes(image, model(image)[0].above(threshold), names)


def build_model(cfg: Config, checkpoint: Checkpoint, framework: str, device: str | None = None) -> Callable:
    """The framework's Detector or Segmenter with a checkpoint's weights. Raises: as build_predictor."""
    segments = task_of(cfg) is SEGMENTATION
    if framework == "torch":
        return in_torch(cfg, checkpoint, segments, device)
    refuse_device_for_mxnet(device)
    return in_mxnet(cfg, checkpoint, segments)


def in_torch(cfg: Config, checkpoint: Checkpoint, segments: bool, device: str | None) -> Callable:
    from torch_port.models import Detector, Segmenter, build_network

    network = build_network(cfg)
    network.load_state_dict(checkpoint.state)
    return (Segmenter if segments else Detector)(network.to(torch_device(device)), cfg, fold=True)


def in_mxnet(cfg: Config, checkpoint: Checkpoint, segments: bool) -> Callable:
    import mxnet_ref

    return (mxnet_ref.Segmenter if segments else mxnet_ref.Detector)(cfg, *checkpoint.mxnet_arrays(cfg))


def of_boxes(image: np.ndarray, found: Detections, names: list[str]) -> Prediction:
    objects = [
        {"class": int(index), "name": names[int(index)], "score": float(score), "box": [float(side) for side in box]}
        for box, score, index in zip(found.boxes, found.scores, found.classes, strict=True)
    ]
    counts: dict[str, int] = {}
    for each in objects:
        counts[str(each["name"])] = counts.get(str(each["name"]), 0) + 1
    summary = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
    picture = draw_detections(image, found, names, threshold=0, scale=enlargement(image))
    return Prediction(picture, {"detections": objects}, summary)


def of_labels(image: np.ndarray, labels: np.ndarray, names: list[str], colours: np.ndarray) -> Prediction:
    pixels = np.bincount(labels.reshape(-1), minlength=len(names))
    order = [int(index) for index in np.argsort(-pixels, kind="stable") if pixels[index]]
    regions = [
        {
            "class": index,
            "name": names[index],
            "pixels": int(pixels[index]),
            "share": float(pixels[index] / labels.size),
        }
        for index in order
    ]
    summary = ", ".join(f"{names[index]} {pixels[index] / labels.size:.0%}" for index in order[:6])
    named: Mapping[int, str] = {index: names[index] for index in order}
    picture = draw_named_labels(image, labels, named, colours, scale=enlargement(image))
    return Prediction(picture, {"classes": regions}, summary, labels)


def enlargement(image: np.ndarray) -> int:
    """How many times larger a small image is drawn, so that names on it can be read."""
    return max(1, READABLE_PX // max(image.shape[:2]))
