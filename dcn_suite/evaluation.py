"""A network over a data set: what it finds in each image, in parts that several processes can do, and what that is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dcn_suite.checkpoints import Checkpoint
from dcn_suite.predictors import build_model
from dcn_tasks.config import Config
from dcn_tasks.data import Dataset
from dcn_tasks.data.reading import watched
from dcn_tasks.detections import Detections
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from dcn_tasks.scoring import detection_scores, image_confusion, region_scores
from dcn_tasks.task import SEGMENTATION, task_of

SCORE_THRESH = 1e-3  # boxes at or below it are not scored, as in the original


@dataclass
class Findings:
    """found: detections by index of the sample. counts: confusion [C, C], summed. skipped: sentence by index."""

    found: dict[int, Detections] = field(default_factory=dict)
    counts: np.ndarray | None = None
    skipped: dict[int, str] = field(default_factory=dict)

    def in_order(self, count: int) -> list[Detections]:
        """Detections of samples 0 to count - 1; none in those that were skipped."""
        nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        return [self.found.get(index, nothing) for index in range(count)]

    def save(self, path: Path) -> None:
        """One .npz, whole or not at all."""
        images = list(self.found)
        each = [self.found[image] for image in images]
        arrays = {
            "images": np.array(images, np.int64),
            "lengths": np.array([len(one) for one in each], np.int64),
            "boxes": np.concatenate([np.zeros((0, 4)), *(one.boxes for one in each)]),
            "scores": np.concatenate([np.zeros(0), *(one.scores for one in each)]),
            "classes": np.concatenate([np.zeros(0, np.int64), *(one.classes for one in each)]),
            "skipped": np.array(list(self.skipped), np.int64),
            "reasons": np.array(list(self.skipped.values()), dtype=np.str_),
        }
        if self.counts is not None:
            arrays["counts"] = self.counts
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)

    @staticmethod
    def load(path: Path) -> "Findings":
        with np.load(path, allow_pickle=False) as arrays:
            ends = np.cumsum(arrays["lengths"])[:-1]
            columns = [np.split(arrays[name], ends) for name in ("boxes", "scores", "classes")]
            rows = [Detections(*row) for row in zip(*columns, strict=True)] if len(arrays["images"]) else []
            found = dict(zip(arrays["images"].tolist(), rows, strict=True))
            skipped = dict(zip(arrays["skipped"].tolist(), arrays["reasons"].tolist(), strict=True))
            return Findings(found, arrays.get("counts"), skipped)


def united(parts: Sequence[Findings]) -> Findings:
    """The findings of all processes: the same as one process would have had."""
    whole = Findings()
    for part in parts:
        whole.found |= part.found
        whole.skipped |= part.skipped
        if part.counts is not None:
            whole.counts = part.counts if whole.counts is None else whole.counts + part.counts
    return whole


def look_at(
    cfg: Config,
    checkpoint: Checkpoint,
    framework: str,
    dataset: Dataset,
    indices: Sequence[int],
    *,
    bad: str = "stop",
    device: str | None = None,
) -> Findings:
    """What the network finds in some samples.

    Args:
        device: PyTorch's; None: the GPU that is there, else the CPU.
        bad: "skip": an image that cannot be read counts as one in which nothing was found (its objects are missed), a label
            map that cannot be read is left out; `skipped` says which.
    Raises: InputError for a broken image, or samples without label maps.
    """
    model = build_model(cfg, checkpoint, framework, device)
    segments = task_of(cfg) is SEGMENTATION
    findings = Findings()
    for index in watched(indices, "evaluating"):
        sample = dataset[index]
        try:
            image = sample.read_image()
            if not segments:
                findings.found[index] = model(image, score_thresh=SCORE_THRESH)[0]
                continue
            labels = sample.read_labels()
            if labels is None:
                raise InputError(
                    f"{dataset.name}: {sample.id} has no label map to score with (a test set?): dcn predict"
                )
            counts = image_confusion(model(image)[1], image, labels, cfg)
            findings.counts = counts if findings.counts is None else findings.counts + counts
        except InputError as error:
            if bad != "skip":
                raise
            findings.skipped[index] = str(error)
    return findings


def scores_of(findings: Findings, dataset: Dataset, cfg: Config) -> dict[str, float]:
    """Numbers by name, percent, over every sample of the data set."""
    if task_of(cfg) is SEGMENTATION:
        if findings.counts is None:
            raise InputError(f"{dataset.name}: expected label maps to score with, none could be used")
        return region_scores(findings.counts, dataset.class_names, original=cfg.dataset.MODE == "original")
    return detection_scores(findings.in_order(len(dataset)), dataset, cfg)
