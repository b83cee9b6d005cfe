"""What a user sees: the boxes of both frameworks; and whether the network is a fair test at all."""

from collections.abc import Iterator

import numpy as np

from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.rows import HOLDS, RED, Row, counted_row, reported_row
from dcn_tasks.config import Config
from dcn_tasks.detections import Detections, detections

SHOWN = 0.05  # detections above this score have to be the same
SCORE_TOLERANCE = 1e-4
FULL_NET_DETECTIONS = 50
FULL_NET_CLASSES = 5


def detections_of(
    rois: np.ndarray, cls_prob: np.ndarray, bbox_pred: np.ndarray, im_info: np.ndarray, cfg: Config
) -> Detections:
    """Boxes in pixels of the photo from the network's raw outputs."""
    return detections(
        rois,
        cls_prob.reshape(len(rois), -1),
        bbox_pred.reshape(len(rois), -1),
        np.asarray(im_info).reshape(3),
        class_agnostic=cfg.CLASS_AGNOSTIC,
        score_thresh=1e-3,
        nms_thresh=cfg.TEST.NMS,
        max_per_image=cfg.TEST.max_per_image,
    )


def above(found: Detections, score: float) -> Detections:
    keep = np.asarray(found.scores) > score
    return Detections(found.boxes[keep], found.scores[keep], found.classes[keep])


def unlike(mxnet: Detections, torch: Detections) -> tuple[int, float, int]:
    """Boxes above 0.05 that one side lacks, the largest score difference of the common ones, and their number.

    A box whose score crosses 0.05 by less than the score tolerance is no difference.
    """
    shown = [above(found, SHOWN - SCORE_TOLERANCE) for found in (mxnet, torch)]
    matching = match_boxes(shown[0].boxes, shown[1].boxes, labels=(shown[0].classes, shown[1].classes))
    lonely = np.concatenate([shown[0].scores[matching.only_a], shown[1].scores[matching.only_b]])
    scores = shown[0].scores[matching.pairs[:, 0]] - shown[1].scores[matching.pairs[:, 1]]
    return int((lonely > SHOWN + SCORE_TOLERANCE).sum()), float(np.max(np.abs(scores), initial=0.0)), len(scores)


BOXES = f"boxes above {SHOWN} that one framework lacks (same class, IoU >= 0.999)"


def detection_rows(check: str, mxnet: Detections, torch: Detections, *, judged: bool = True) -> Iterator[Row]:
    """Equal sets above a score of 0.05. judged: False reports what differs only."""
    unmatched, largest, common = unlike(mxnet, torch)
    claim = f"largest difference of the {common} scores"
    if not judged:
        beside = " (not judged: MXNet's float32 does not find the boxes of its float64)"
        yield reported_row(check, "detections", "boxes", BOXES + beside, 0, unmatched)
        yield reported_row(check, "detections", "scores", claim + beside, 0.0, largest)
        return
    yield counted_row(check, "detections", "boxes", BOXES, unmatched)
    holds = largest <= SCORE_TOLERANCE
    yield Row(
        check, "detections", "scores", claim, 0.0, largest, SCORE_TOLERANCE,
        HOLDS if holds else RED, strain=largest / SCORE_TOLERANCE,
    )  # fmt: skip


def is_well_posed(mxnet: Detections, mxnet64: Detections) -> bool:
    """Whether float32 decides what a user sees: MXNet's own boxes and scores are those of its float64 run.

    Where they are not, a RoI side lies within rounding of a half pixel, or two boxes of the suppression's threshold:
    correct implementations differ there, by hundredths in score.
    """
    unmatched, largest, _ = unlike(mxnet64, mxnet)
    return not unmatched and largest <= SCORE_TOLERANCE


def posed_rows(mxnet: Detections, mxnet64: Detections, *, calibrated: bool, apart: int = 0) -> Iterator[Row]:
    """Calibrated weights have to make a network whose detections mean something in float32; a checkpoint is what it is.

    Args: apart: number of RoIs that were left out of both, since ROIPooling takes other cells for them in float64.
    """
    without = f", without {apart} RoIs of which float64 pools other cells" if apart else ""
    unmatched, largest, _ = unlike(mxnet64, mxnet)
    claims = {
        "boxes": (f"boxes above 0.05 that MXNet's float32 or its float64 lacks{without}", unmatched, 0),
        "scores": (f"MXNet's float32 scores against its float64{without}", largest, SCORE_TOLERANCE),
    }
    for quantity, (claim, got, allowed) in claims.items():
        if calibrated:
            verdict, strain = (HOLDS, 0.0) if got <= allowed else (RED, float("inf"))
            yield Row("network", "detections", quantity, claim, 0, got, allowed, verdict, strain=strain)
        else:
            yield reported_row("network", "detections", quantity, claim, 0, got)


def fairness_rows(mxnet: Detections, proposal_scores: np.ndarray | None, *, full: bool) -> Iterator[Row]:
    """Whether random weights make a network that proves something: detections over classes, no ties among proposals."""
    shown = above(mxnet, SHOWN)
    count, classes = len(shown.scores), len(np.unique(shown.classes))
    if full:
        yield _at_least("detections", f"detections above {SHOWN}", FULL_NET_DETECTIONS, count)
        yield _at_least("classes", f"classes among detections above {SHOWN}", FULL_NET_CLASSES, classes)
    else:
        yield reported_row("network", "detections", "count", f"detections above {SHOWN} (a narrow net)", "", count)
        yield reported_row("network", "classes", "count", f"classes among detections above {SHOWN}", "", classes)
    if proposal_scores is not None:
        repeated = int(proposal_scores.size - np.unique(proposal_scores).size)
        yield counted_row("network", "rois", "ties", "repeated scores among the kept proposals", repeated)


def _at_least(node: str, claim: str, wanted: int, got: int) -> Row:
    verdict = HOLDS if got >= wanted else RED
    return Row(
        "network", node, "count", claim, f"≥ {wanted}", got, "—", verdict, strain=0.0 if got >= wanted else float("inf")
    )
