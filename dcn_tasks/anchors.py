"""Anchor boxes of the region proposal network (original `lib/rpn/generate_anchor.py`)."""

from collections.abc import Sequence

import numpy as np


def base_anchors(stride: int, ratios: Sequence[float], scales: Sequence[float]) -> np.ndarray:
    """Anchors of the cell at the origin, ratio-major, then scale.

    Args: stride: image pixels per cell; ratios: height / width; scales: side in strides.
    Returns: [len(ratios)*len(scales), 4]. Sides are rounded half to even, as NumPy does (MXNet's C++ operator rounds up).
    """
    aspect = np.asarray(ratios, np.float64)
    widths = np.round(np.sqrt(stride * stride / aspect))
    heights = np.round(widths * aspect)
    sides = np.stack([widths, heights], 1)[:, None, :] * np.asarray(scales, np.float64)[None, :, None]
    centre = 0.5 * (stride - 1)
    half = 0.5 * (sides - 1)
    return np.concatenate([centre - half, centre + half], axis=2).reshape(-1, 4)


def grid_anchors(base: np.ndarray, feat_h: int, feat_w: int, stride: int) -> np.ndarray:
    """The base anchors at every cell: y outermost, then x, anchors innermost.

    Args: base: [A, 4]. Returns: [feat_h*feat_w*A, 4].
    """
    y, x = np.meshgrid(np.arange(feat_h) * stride, np.arange(feat_w) * stride, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    return (shifts + base[None]).reshape(-1, 4)
