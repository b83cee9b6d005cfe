"""Lists of boxes compared as sets: two frameworks may keep the same boxes in another order."""

from typing import NamedTuple

import numpy as np

from dcn_tasks.boxes import bbox_overlaps

SAME_BOX_IOU = 0.999


class Matching(NamedTuple):
    """pairs: [K, 2] rows of a and b that are one box; only_a, only_b: rows without a partner."""

    pairs: np.ndarray
    only_a: np.ndarray
    only_b: np.ndarray

    @property
    def unmatched(self) -> int:
        return len(self.only_a) + len(self.only_b)


def match_boxes(
    a: np.ndarray, b: np.ndarray, *, labels: tuple[np.ndarray, np.ndarray] | None = None, iou: float = SAME_BOX_IOU
) -> Matching:
    """Pairs up boxes of IoU >= `iou`, every box at most once, the most similar place in the list first.

    Args:
        a: [N, 4], b: [M, 4], far edge inclusive. labels: [N] and [M], only equal ones match.
    """
    same = bbox_overlaps(np.asarray(a, np.float64), np.asarray(b, np.float64)) >= iou
    if labels is not None:
        same &= np.asarray(labels[0])[:, None] == np.asarray(labels[1])[None, :]
    free_a, free_b = np.ones(len(a), bool), np.ones(len(b), bool)
    pairs = []
    rows, columns = np.nonzero(same)
    # identical boxes (padding repeats them) pair up row by row, so that other columns of the rows correspond too
    for row, column in sorted(
        zip(rows.tolist(), columns.tolist(), strict=True), key=lambda pair: abs(pair[0] - pair[1])
    ):
        if free_a[row] and free_b[column]:
            free_a[row] = free_b[column] = False
            pairs.append((row, column))
    return Matching(
        np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2), np.flatnonzero(free_a), np.flatnonzero(free_b)
    )
