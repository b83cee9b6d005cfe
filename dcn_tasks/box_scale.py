"""By what a network's box regression is divided while it trains (original `core/callback.py`)."""

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.network import NetworkSpec


def box_normalisation(cfg: Config) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means [4] and standard deviations [4] of the box targets; 0 and 1 unless TRAIN.BBOX_NORMALIZATION_PRECOMPUTED.

    The original's checkpoints are multiplied by BBOX_STDS without that key too, though nothing was divided by them.
    """
    if not cfg.TRAIN.BBOX_NORMALIZATION_PRECOMPUTED:
        return (0.0,) * 4, (1.0,) * 4
    return tuple(cfg.TRAIN.BBOX_MEANS), tuple(cfg.TRAIN.BBOX_STDS)


def is_scaled(cfg: Config) -> bool:
    """Whether training keeps box regression divided by anything but 1, or shifted."""
    return box_normalisation(cfg) != ((0.0,) * 4, (1.0,) * 4)


def box_scale(cfg: Config, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """(stds, means) [channels] float32 of the layer that regresses boxes: 4 per class, for position-sensitive maps each of
    them repeated for the bins. Deltas are what that layer gives, times stds, plus means.

    Args: cfg: TRAIN.BBOX_* and the network's family are read. channels: of the layer's output.
    """
    spec = NetworkSpec.from_config(cfg)
    bins = spec.pooled_size**2 if spec.family == "rfcn" else 1
    means, stds = (
        np.repeat(np.tile(np.asarray(values, np.float32), channels // (4 * bins)), bins)
        for values in box_normalisation(cfg)
    )
    return stds, means


def unnormalised(array: np.ndarray, cfg: Config) -> np.ndarray:
    """Weight or bias of that layer as detection takes it; `array` as it was trained."""
    stds, means = box_scale(cfg, len(array))
    return array * stds + means if array.ndim == 1 else array * stds.reshape(-1, *[1] * (array.ndim - 1))


def normalised(array: np.ndarray, cfg: Config) -> np.ndarray:
    """The way back, up to a rounding."""
    stds, means = box_scale(cfg, len(array))
    return (array - means) / stds if array.ndim == 1 else array / stds.reshape(-1, *[1] * (array.ndim - 1))
