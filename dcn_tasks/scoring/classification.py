"""The share of images whose class is right."""

import numpy as np

from dcn_tasks.errors import InputError


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Percent of labels [N] met by classes [N], or by the best of scores [N, C], the lower of equal ones.

    Raises: InputError for arrays of different length, or empty ones.
    """
    classes = predicted.argmax(axis=1) if predicted.ndim == 2 else predicted
    if classes.shape != labels.shape or not len(labels):
        raise InputError(
            f"accuracy: expected one label a prediction, got {list(predicted.shape)} and {list(labels.shape)}"
        )
    return 100 * float((classes == labels).mean())
