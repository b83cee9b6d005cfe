"""The four-witness rule: MXNet and the port, each in float32 and float64, on one input."""

from dataclasses import dataclass

import numpy as np
from tolerances import DIFFERENT_CELL, DIFFERENT_CELL_SHARE, ERROR_RATIO, FLOAT32_ROUNDING, FLOAT64_SAME_FUNCTION


@dataclass(frozen=True)
class Witnesses:
    """One tensor as each witness computed it."""

    ours32: np.ndarray
    ours64: np.ndarray
    mxnet32: np.ndarray
    mxnet64: np.ndarray


def assert_same_function(w: Witnesses, what: str) -> int:
    """Applies the rule to one tensor; returns how many elements fell into different cells in float32 and float64."""
    assert w.ours32.shape == w.mxnet32.shape == w.ours64.shape, what
    assert w.ours32.dtype == np.float32 and w.ours64.dtype == np.float64, what
    scale = np.abs(w.mxnet64).max(initial=0.0)
    difference = np.abs(w.ours64 - w.mxnet64).max(initial=0.0)
    assert difference <= FLOAT64_SAME_FUNCTION * scale, f"{what}: float64 differs by {difference}, scale {scale}"
    mxnet_error = np.abs(w.mxnet32 - w.mxnet64)
    apart = mxnet_error > DIFFERENT_CELL * scale
    assert apart.mean() <= DIFFERENT_CELL_SHARE if apart.size else True, f"{what}: {apart.sum()} elements set apart"
    allowed = ERROR_RATIO * mxnet_error[~apart].max(initial=0.0) + FLOAT32_ROUNDING * scale
    error = np.abs(w.ours32 - w.ours64)[~apart].max(initial=0.0)
    assert error <= allowed, f"{what}: float32 error {error}, allowed {allowed}"
    between = np.abs(w.ours32 - w.mxnet32)[apart].max(initial=0.0)
    assert between <= allowed, f"{what}: float32 differs by {between} where cells differ, allowed {allowed}"
    return int(apart.sum())
