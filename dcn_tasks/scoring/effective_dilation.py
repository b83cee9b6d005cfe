"""Effective dilation of a deformable convolution: how far apart the points lie that its filter looks at (paper, section 4.2).

The mean distance of sampling points that are neighbours in the filter, in cells of the map; by the size of the object that the
filter's centre lies in. What the paper leaves open, and what is done here:

    neighbours    side by side, 12 pairs of a 3x3 filter: without offsets a filter of dilation 2 has exactly 2
    centres       that of the cell, (i + 0.5) times its side, as the specification has it; the layers' own is up to 6 pixels off
    several boxes the smallest that the centre lies in
    objects       all that are annotated, difficult ones too
    areas         in pixels of the image as published, not as resized for the network
    deviation     over all positions of all images
"""

from dataclasses import dataclass, field

import numpy as np

from dcn_tasks.boxes import areas

SIZES = ("small", "medium", "large", "background")
LIMITS_PX2 = (96.0**2, 224.0**2)  # between small and medium, medium and large objects
BACKGROUND = SIZES.index("background")


def neighbour_distances(offsets: np.ndarray, dilation: int, groups: int = 1) -> np.ndarray:
    """Mean distance of neighbouring sampling points at every position, over pairs and groups.

    Args:
        offsets: [2 * groups * K * K, H, W], cells, (y, x) of a point after the other, as DeformableConvolution takes them.
        dilation: of the filter, cells. groups: number of channel groups with offsets of their own.
    Returns: float64 [H, W], cells.
    Raises: ValueError where the channels are no square filter's.
    """
    side = round((len(offsets) / (2 * groups)) ** 0.5)
    if 2 * groups * side**2 != len(offsets):
        raise ValueError(
            f"neighbour_distances: expected 2 * {groups} * K * K channels of offsets, got {len(offsets)}: masks among them?"
        )
    points = offsets.astype(np.float64).reshape(groups, side, side, 2, *offsets.shape[1:])
    grid = dilation * np.arange(side, dtype=np.float64)
    points[:, :, :, 0] += grid[:, None, None, None]
    points[:, :, :, 1] += grid[None, :, None, None]
    pairs = [
        np.hypot(step[:, :, :, 0], step[:, :, :, 1]) for step in (np.diff(points, axis=1), np.diff(points, axis=2))
    ]
    return np.concatenate([each.reshape(-1, *offsets.shape[1:]) for each in pairs]).mean(axis=0)


def object_sizes(boxes: np.ndarray, shape: tuple[int, int], cell_px: float) -> np.ndarray:
    """Which of SIZES the object at every position's centre has.

    Args:
        boxes: [G, 4] = (x1, y1, x2, y2), image pixels, far edge inclusive. shape: (H, W) of the map.
        cell_px: side of a cell in image pixels.
    Returns: integers [H, W], places in SIZES.
    """
    found = np.full(shape, BACKGROUND)
    y, x = ((np.arange(count) + 0.5) * cell_px for count in shape)
    area = areas(boxes)
    for index in np.argsort(-area, kind="stable"):  # the smallest last
        x1, y1, x2, y2 = boxes[index]
        inside = ((y >= y1) & (y < y2 + 1))[:, None] & (x >= x1) & (x < x2 + 1)
        found[inside] = np.searchsorted(LIMITS_PX2, area[index], side="right")
    return found


@dataclass
class EffectiveDilation:
    """Distances summed over positions, by SIZES: [4] each."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros(len(SIZES), np.int64))
    sums: np.ndarray = field(default_factory=lambda: np.zeros(len(SIZES)))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(len(SIZES)))

    def add(self, distances: np.ndarray, sizes: np.ndarray) -> None:
        """One image's. Args: distances: [H, W], cells. sizes: [H, W], places in SIZES."""
        for total, weights in ((self.counts, None), (self.sums, distances), (self.squares, distances**2)):
            given = None if weights is None else weights.ravel()
            total += np.bincount(sizes.ravel(), given, minlength=len(SIZES)).astype(total.dtype)

    def figures(self) -> dict[str, tuple[float, float, int]]:
        """(mean, standard deviation, number of positions) by size, in cells; sizes that no position has are left out."""
        found = {}
        for size, count, total, squares in zip(SIZES, self.counts, self.sums, self.squares, strict=True):
            if count:
                mean = total / count
                found[size] = (float(mean), float(max(squares / count - mean**2, 0) ** 0.5), int(count))
        return found
