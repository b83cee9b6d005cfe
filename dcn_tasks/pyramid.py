"""Feature pyramids: how large their levels are, and from which of them a RoI is pooled."""

import numpy as np


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of P2 to P6 of an image: 7x7/2 convolution, 3x3/2 ceil pooling, then four times a stride of 2."""

    def sides(pixels: int) -> list[int]:
        stem = (pixels + 2 * 3 - 7) // 2 + 1
        found = [-(-(stem - 3) // 2) + 1]
        for _ in range(4):
            found.append((found[-1] - 1) // 2 + 1)
        return found

    return list(zip(sides(height), sides(width), strict=True))


def levels_of(rois: np.ndarray, num_levels: int, level_side: float) -> np.ndarray:
    """[R] index of the level that each RoI is pooled from: floor(2 + log2(sqrt(w * h) / level_side)), clipped.

    Args:
        rois: [R, 5] = (image index, x1, y1, x2, y2), image pixels, far edge inclusive.
        num_levels: of them; index 0 is P2. level_side: side of the RoIs of index 2, P4.
    In float32, as in the original, so that RoIs on the edge of a level fall to the same side.
    Source: `fpn/operator_py/fpn_roi_pooling.py`.
    """
    level = np.floor(size_in_levels(rois, level_side))
    return np.clip(np.nan_to_num(level, nan=0.0), 0, num_levels - 1).astype(np.intp)


def size_in_levels(rois: np.ndarray, level_side: float) -> np.ndarray:
    """[R] float32 2 + log2(sqrt(w * h) / level_side); NaN for a degenerate RoI, which goes to the lowest level."""
    x1, y1, x2, y2 = np.asarray(rois, np.float32)[:, 1:].T
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 + np.log2(np.sqrt((x2 - x1 + 1) * (y2 - y1 + 1)) / np.float32(level_side))
