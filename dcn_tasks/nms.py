"""Non-maximum suppression with the far edge inclusive."""

import numpy as np

from dcn_tasks.boxes import areas


def nms(dets: np.ndarray, thresh: float, max_keep: int | None = None) -> np.ndarray:
    """Greedy suppression of boxes that overlap a better one by more than `thresh`.

    Args: dets: [N, 5] = x1, y1, x2, y2, score. max_keep: stop after this many; None: no limit.
    Returns: indices of the kept rows, best first; equal scores keep their order.
    Source: original `lib/nms/nms.py`: kept while IoU <= thresh.
    """
    dets = np.asarray(dets, np.float64)
    order = np.argsort(-dets[:, 4], kind="stable")
    boxes = dets[order, :4]
    area = areas(boxes)
    alive = np.arange(len(boxes))
    keep = []
    while len(alive) and (max_keep is None or len(keep) < max_keep):
        best, rest = alive[0], alive[1:]
        keep.append(best)
        side_x = np.minimum(boxes[best, 2], boxes[rest, 2]) - np.maximum(boxes[best, 0], boxes[rest, 0]) + 1
        side_y = np.minimum(boxes[best, 3], boxes[rest, 3]) - np.maximum(boxes[best, 1], boxes[rest, 1]) + 1
        intersection = np.maximum(side_x, 0) * np.maximum(side_y, 0)
        alive = rest[~(intersection / (area[best] + area[rest] - intersection) > thresh)]
    return order[np.array(keep, dtype=np.intp)]
