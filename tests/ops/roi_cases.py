"""RoIs that the pooling operators are tested on, by what is special about them. All [R, 5], far edge inclusive."""

import numpy as np


def scattered(count: int, height: float, width: float, batch: int = 1, seed: int = 0) -> np.ndarray:
    """Ordinary RoIs inside an image of height x width pixels, images in turn, float32 values."""
    rng = np.random.default_rng(seed)
    x1, y1 = rng.uniform(0, 0.8 * width, count), rng.uniform(0, 0.8 * height, count)
    x2 = np.minimum(x1 + rng.uniform(8, 0.7 * width, count), width - 1)
    y2 = np.minimum(y1 + rng.uniform(8, 0.7 * height, count), height - 1)
    return np.stack([np.arange(count) % batch, x1, y1, x2, y2], 1).astype(np.float32)


def halves(height: float, width: float) -> np.ndarray:
    """Coordinates at .5: C rounds away from zero, NumPy to even."""
    return np.float32(
        [
            [0, 0.5, 1.5, 0.5 * width + 0.5, 40.5],
            [0, 2.5, 2.5, 33.5, 0.5 * height + 0.5],
            [0, -0.5, -1.5, 20.5, 28.5],
            [0, 4.5, 3.5, width - 0.5, height - 0.5],
        ]
    )


def outside(height: float, width: float) -> np.ndarray:
    """Partly and wholly beyond each border."""
    return np.float32(
        [
            [0, -60, -50, 30, 20],
            [0, width - 20, height - 25, width + 70, height + 50],
            [0, -200, -200, -100, -100],
            [0, width + 50, 0, width + 90, 40],
            [0, 5, height - 1, 60, height + 300],
        ]
    )


def tiny(height: float, width: float) -> np.ndarray:
    """One pixel, less than a feature cell, and at the far corner."""
    return np.float32(
        [
            [0, 10, 10, 10, 10],
            [0, 31.3, 17.6, 31.4, 17.7],
            [0, width - 1, height - 1, width - 1, height - 1],
            [0, 0, 0, 0, 0],
        ]
    )


def whole(height: float, width: float) -> np.ndarray:
    return np.float32([[0, 0, 0, width - 1, height - 1], [0, -16, -16, width + 15, height + 15]])


def reversed_corners(height: float, width: float) -> np.ndarray:
    return np.float32([[0, 60, 50, 20, 10], [0, 30, 10, 29, 60], [0, width, height, 0, 0]])


def damaged() -> np.ndarray:
    """Rows that are no RoI: NaN, infinity."""
    nan, inf = np.nan, np.inf
    return np.float32(
        [[0, nan, 0, 30, 30], [0, 0, 0, nan, nan], [0, 0, 0, inf, 30], [0, -inf, -inf, inf, inf], [nan, 0, 0, 30, 30]]
    )


def enormous() -> np.ndarray:
    """Finite, far beyond what an int holds."""
    return np.float32([[0, 1e30, 1e30, 1e30, 1e30], [0, -1e30, -1e30, -1e30, -1e30], [0, 3e38, -3e38, 3e38, 3e38]])
