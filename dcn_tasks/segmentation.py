"""What DeepLab learns from and is scored by: label maps (original `lib/utils/image.py`, `deeplab/core/{loader,metric}.py`).

A label map is [H, W] of class numbers from 0 on; 255 marks pixels that nobody is asked about.
"""

import cv2
import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.images import planes, resize_scale, resized
from dcn_tasks.streams import Draws
from dcn_tasks.training_metrics import EPSILON

IGNORED_LABEL = 255


def segmentation_batch(image: np.ndarray, labels: np.ndarray, cfg: Config, draws: Draws) -> dict[str, np.ndarray]:
    """Inputs of the training graph for one image: both resized by the same factor, then cropped at the same place.

    Args:
        image: RGB uint8 [H, W, 3]. labels: integers [H, W].
        cfg: SCALES, network.PIXEL_MEANS, TRAIN.ENABLE_CROP, CROP_HEIGHT and CROP_WIDTH are read.
        draws: site "crop" says where.
    Returns: float32 data [1, 3, h, w], label [1, 1, h, w]; padding (IMAGE_STRIDE) is labelled 255.
    Raises: InputError for labels that do not fit the image or the classes, or a crop larger than the resized image.
    """
    check_labels(image, labels, cfg.dataset.NUM_CLASSES)
    image, scale = resized(image, *cfg.SCALES[0])
    labels = np.ascontiguousarray(labels, np.uint8)
    if scale != 1:
        labels = cv2.resize(labels, None, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    stride, train = cfg.network.IMAGE_STRIDE or 1, cfg.TRAIN
    size = [-(-side // stride) * stride for side in labels.shape]
    window = slice(0, size[0]), slice(0, size[1])
    if train.ENABLE_CROP:
        window = crop_window(tuple(size), (train.CROP_HEIGHT, train.CROP_WIDTH), draws)
    label = np.full([each.stop - each.start for each in window], IGNORED_LABEL, np.float32)
    seen = labels[window]
    label[: seen.shape[0], : seen.shape[1]] = seen
    return {"data": planes(image, cfg, window)[0], "label": label[None, None]}


def crop_window(size: tuple[int, ...], crop: tuple[int, int], draws: Draws) -> tuple[slice, slice]:
    """Rows and columns of a random crop, every place equally likely.

    Args: size, crop: (height, width), pixels.
    """
    if crop[0] > size[0] or crop[1] > size[1]:
        raise InputError(
            f"TRAIN.CROP_HEIGHT, CROP_WIDTH: expected a crop within the resized image of {size[0]}x{size[1]} pixels, got "
            f"{crop[0]}x{crop[1]}: set SCALES larger, or ENABLE_CROP to false"
        )
    across, down = draws.generator("crop").random(2)
    x, y = int(across * (size[1] - crop[1] + 1)), int(down * (size[0] - crop[0] + 1))
    return slice(y, y + crop[0]), slice(x, x + crop[1])


def check_labels(image: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    """Raises: InputError unless `labels` is a label map of `image`."""
    if labels.shape != image.shape[:2]:
        raise InputError(f"labels: expected one a pixel, {list(image.shape[:2])}, got {list(labels.shape)}")
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels: expected integers, got {labels.dtype}")
    wrong = np.unique(labels[(labels < 0) | ((labels >= num_classes) & (labels != IGNORED_LABEL))])
    if len(wrong):
        raise InputError(
            f"labels: expected 0 to {num_classes - 1}, or 255 for pixels without a class, got {wrong[:5].tolist()}: is "
            "dataset.NUM_CLASSES right, and are these training ids?"
        )


def segmentation_metrics(prob: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """FCNLogLoss, the mean -log p(label) over the pixels that are not 255; NaN-free: 0 where there are none.

    Args: prob: [1, C, H, W]. label: [1, 1, H, W].
    """
    kept = label.reshape(-1) != IGNORED_LABEL
    classes = label.reshape(-1)[kept].astype(np.intp)
    picked = prob[0].reshape(prob.shape[1], -1)[:, kept][classes, np.arange(len(classes))].astype(np.float64)
    return {"FCNLogLoss": float(-np.log(picked + EPSILON).mean()) if len(classes) else 0.0}


def label_map(prob: np.ndarray) -> np.ndarray:
    """[1, C, H, W] of scores or probabilities -> [H, W] uint8: the best class of every pixel, the lower of equal ones."""
    return prob[0].argmax(axis=0).astype(np.uint8)


def image_labels(prob: np.ndarray, image: np.ndarray, cfg: Config) -> np.ndarray:
    """The label map of a network's output [1, C, h, w] at the size of the image [H, W, 3], by the nearest pixel.

    Source: the original's evaluation of Cityscapes; that of VOC shrinks the ground truth instead.
    """
    height, width = image.shape[:2]
    scale = resize_scale(height, width, *cfg.SCALES[0])
    labels = label_map(prob)[: round(height * scale), : round(width * scale)]  # without padding
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)


def confusion(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """[C, C] counts of pixels by label and prediction; labels of 255 are left out. Two label maps of one size."""
    kept = labels != IGNORED_LABEL
    pairs = labels[kept].astype(np.intp) * num_classes + predicted[kept].astype(np.intp)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def intersection_over_union(counts: np.ndarray) -> np.ndarray:
    """[C] IoU of every class from summed `confusion`; 0 for a class that neither labels nor predictions have."""
    hits = np.diag(counts).astype(np.float64)
    return hits / np.maximum(1, counts.sum(axis=0) + counts.sum(axis=1) - hits)
