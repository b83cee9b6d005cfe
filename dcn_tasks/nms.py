"""Non-maximum suppression with the far edge inclusive."""

import numpy as np

from dcn_tasks.boxes import areas


def nms(dets: np.ndarray, thresh: float) -> np.ndarray:
    """Greedy suppression of boxes that overlap a better one by more than `thresh`.

    Args: dets: [N, 5] = x1, y1, x2, y2, score.
    Returns: indices of the kept rows, best first; equal scores keep their order.
    Source: original `lib/nms/nms.py`: kept while IoU <= thresh.
    """
    dets = np.asarray(dets, np.float64)
    order = np.argsort(-dets[:, 4], kind="stable")
    boxes = dets[order, :4]
    area = areas(boxes)
    alive = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        rest = i + 1 + np.flatnonzero(alive[i + 1 :])
        side_x = np.minimum(boxes[i, 2], boxes[rest, 2]) - np.maximum(boxes[i, 0], boxes[rest, 0]) + 1
        side_y = np.minimum(boxes[i, 3], boxes[rest, 3]) - np.maximum(boxes[i, 1], boxes[rest, 1]) + 1
        intersection = np.maximum(side_x, 0) * np.maximum(side_y, 0)
        alive[rest[intersection / (area[i] + area[rest] - intersection) > thresh]] = False
    return order[alive]
