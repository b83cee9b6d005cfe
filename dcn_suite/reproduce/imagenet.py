"""The error of an ImageNet backbone's first guess, from the checkpoint that detectors start from: is it the right file?"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dcn_suite.checkpoints import Checkpoint
from dcn_suite.feature_maps import feature_maps
from dcn_suite.reproduce.registry import Row
from dcn_suite.training.start import pretrained_path, starting_weights
from dcn_tasks.data.imagenet import NUM_CLASSES, read_imagenet, to_classifier_input
from dcn_tasks.data.reading import watched
from dcn_tasks.errors import InputError
from dcn_tasks.images import read_image
from dcn_tasks.scoring import accuracy
from weights_convert import load_params, to_torch
from weights_convert.families import dense


def measure(
    row: Row, framework: str, *, data: Path, note: Callable[[str], None]
) -> tuple[dict[str, float], dict[str, object]]:
    """One crop of every validation image through the backbone, the mean of its last map, and the classifier beside it.

    Args: row: config has stride 32 and no dilation, as the classifier was trained; setting: `map` and `classifier`, MXNet's names.
        data: folder of the validation images.
    Returns: top1_error, percent; details: number of images, checkpoint's name.
    Raises: InputError for images or a checkpoint that are not there, or one without a classifier.
    """
    cfg, node = row.load(), row.setting["map"]
    images = read_imagenet(data)
    path = pretrained_path(cfg)
    weight, bias = classifier_of(path, row.setting["classifier"])
    params, _ = starting_weights(cfg, 0, path, from_scratch=False)
    checkpoint = Checkpoint(path, to_torch(params, cfg, use_test_weights=False))
    maps = feature_maps(cfg, checkpoint, framework, [node])
    note(f"{row.id} {framework}: {len(images.files)} images through {path}")
    guesses = []
    for file in watched(images.files, f"ImageNet in {framework}"):
        features = maps(to_classifier_input(read_image(file), cfg, file))[node].mean(axis=(1, 2))
        if len(features) != weight.shape[1]:
            raise InputError(f"{path}: expected a classifier of {len(features)} features, got {weight.shape[1]}")
        guesses.append(int((weight @ features + bias).argmax()))
    error = 100 - accuracy(np.array(guesses), images.labels)
    return {"top1_error": round(error, 4)}, {"images": len(guesses), "weights": path.name}


def classifier_of(path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(weight [1000, C], bias [1000]) of the fully connected layer that backbone files have left over."""
    arg = load_params(path).arg
    found = [np.asarray(dense(arg[key]), np.float64) for key in (f"{name}_weight", f"{name}_bias") if key in arg]
    if len(found) < 2 or found[0].shape[:1] != found[1].shape or len(found[1]) != NUM_CLASSES:
        raise InputError(
            f"{path}: expected {name}_weight and {name}_bias of {NUM_CLASSES} classes, the ImageNet classifier"
        )
    return found[0].reshape(NUM_CLASSES, -1), found[1]
