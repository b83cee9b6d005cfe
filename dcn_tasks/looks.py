"""Testing with more than one look at an image: scales (the paper's M), mirrored, boxes scored again (its B).

One function for both frameworks: a network's outputs in, detections out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.detections import Detections, Suppression, candidates, decoded, suppress
from dcn_tasks.errors import InputError
from dcn_tasks.images import to_network_input

# The paper's M has short sides 480, 576, 688, 864, 1200, 1400; the caps are of the original's FPN configuration, which
# has 800 in the place of 864.
PAPER_SCALES = [[480, 800], [576, 900], [688, 1100], [864, 1200], [1200, 1600], [1400, 2000]]


class RoIOutputs(Protocol):
    """rois: [R, 5] pixels of the network's input; cls_prob: [R, C]; bbox_pred: [R, 4*num_reg_classes], un-normalised."""

    rois: Any
    cls_prob: Any
    bbox_pred: Any


class TwoStage(Protocol):
    """A detector as this module sees it."""

    def propose(self, data: np.ndarray, im_info: np.ndarray) -> RoIOutputs:
        """data [1, 3, h, w] and im_info [1, 3] -> outputs for the RoIs that the network proposes."""
        ...

    def score(self, rois: np.ndarray) -> RoIOutputs:
        """Outputs for given RoIs [R, 5] of the image that `propose` saw last. Raises: InputError without a second stage."""
        ...


@dataclass(frozen=True)
class Look:
    """One input of the network: data [1, 3, h, w], im_info [1, 3], and whether the image of `width` px was mirrored."""

    data: np.ndarray
    im_info: np.ndarray
    mirrored: bool
    width: int

    def to_image(self, found: list[np.ndarray]) -> list[np.ndarray]:
        """Candidates [N, 5] of each class in pixels of the image as it came: x becomes width - 1 - x where mirrored.

        The original mirrors ground truth so; a box that reached into the padding ends at the image's left edge.
        """
        if not self.mirrored:
            return found
        return [
            np.concatenate(
                [np.maximum(self.width - 1 - d[:, 2:3], 0), d[:, 1:2], self.width - 1 - d[:, :1], d[:, 3:]], 1
            )
            for d in found
        ]


def looks_at(image: np.ndarray, cfg: Config) -> Iterator[Look]:
    """RGB uint8 [H, W, 3] at every scale of TEST_SCALES (or SCALES), after each its mirror image where TEST.FLIP says so."""
    for sides in cfg.TEST_SCALES or cfg.SCALES:
        for mirrored in (False, True) if cfg.TEST.FLIP else (False,):
            view = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
            yield Look(*to_network_input(view, cfg, sides=sides), mirrored, image.shape[1])


def find_objects(
    network: TwoStage, image: np.ndarray, cfg: Config, *, score_thresh: float
) -> tuple[Detections, RoIOutputs]:
    """Every look of the configuration, united, suppressed once.

    Args:
        image: RGB uint8 [H, W, 3].
        cfg: SCALES, TEST_SCALES, CLASS_AGNOSTIC and TEST are read.
        score_thresh: boxes at or below it never enter the union.
    Returns: detections in pixels of `image`, and the network's outputs for the first look.
    Source: union over scales before one NMS: original `fpn/core/tester.py`. TEST.BOX_AVERAGE_PASSES: Gidaris & Komodakis
        2015: the regressed boxes are scored and regressed again; a candidate pairs the box regressed in a pass with the
        score of that pass, and the candidates of all passes are united.
    """
    found, first = [], None
    for look in looks_at(image, cfg):
        outputs = network.propose(look.data, look.im_info)
        first = first or outputs
        for done in range(passes(cfg)):
            if done:
                outputs = network.score(regressed(outputs, look.im_info, cfg.CLASS_AGNOSTIC))
            boxes = candidates(
                outputs.rois,
                outputs.cls_prob,
                outputs.bbox_pred,
                look.im_info,
                class_agnostic=cfg.CLASS_AGNOSTIC,
                score_thresh=score_thresh,
            )
            found.append(look.to_image(boxes))
    assert first is not None, "SCALES has at least one entry"
    return suppress(found, Suppression.from_config(cfg)), first


def passes(cfg: Config) -> int:
    """How often boxes are scored. Raises: InputError for a count that is no count."""
    count = cfg.TEST.BOX_AVERAGE_PASSES
    if not isinstance(count, int) or count < 1:
        raise InputError(f"config: TEST.BOX_AVERAGE_PASSES: expected a whole number of at least 1, got {count!r}")
    return count if cfg.TEST.BOX_AVERAGE else 1


def regressed(outputs: RoIOutputs, im_info: np.ndarray, class_agnostic: bool) -> np.ndarray:
    """The RoIs where regression moved them, float32 [R, 5]: class-aware boxes go with their best object class."""
    boxes = decoded(outputs.rois, outputs.bbox_pred, im_info).reshape(len(outputs.rois), -1, 4)
    best = 1 if class_agnostic else 1 + outputs.cls_prob[:, 1:].argmax(axis=1)
    rois = np.array(outputs.rois, np.float32)
    rois[:, 1:] = boxes[np.arange(len(rois)), best]
    return rois
