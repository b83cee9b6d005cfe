"""Rows of the paper that train on a public data set: both image sets are looked for first, then `dcn train` and `dcn eval` do it."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcn_suite.checkpoints import Checkpoint, read_checkpoint
from dcn_suite.evaluation import look_at, scores_of
from dcn_suite.reproduce.registry import DATA_FOLDER, Row
from dcn_suite.reproduce.results import IN_PLACE_OF
from dcn_suite.training import Settings, run_training
from dcn_tasks.config import Config
from dcn_tasks.data import Dataset, open_dataset
from dcn_tasks.errors import InputError
from dcn_tasks.task import task_of
from dcn_tasks.training_log import METRICS

CURVE_POINTS = 60  # most of a stored loss curve
MEASURED = {  # column of the published tables -> how a score's name begins (dcn_tasks.scoring)
    "mAP@0.5": ("mAP@0.5 ", "AP50"),
    "mAP@0.7": ("mAP@0.7 ",),
    "mAP": ("AP",),
    "mAP@0.75": ("AP75",),
    "mAP_small": ("APs",),
    "mAP_medium": ("APm",),
    "mAP_large": ("APl",),
    "mIoU": ("mIoU",),
}


def train_and_score(
    row: Row, framework: str, seed: int, *, data: Path, work: Path, image_set: str | None, note: Callable[[str], None]
) -> tuple[dict[str, float], dict]:
    """Args:
        data: folder of the data set, or the one that row.folder is in. work: of the training; one that stopped goes on.
        image_set: scored in place of the row's.
    Returns: figures by the row's columns, percent; details: every score, the image set, the last losses and their curve.
    Raises: InputError when data is missing: the sentence names the folders that are wanted and where they are published.
    """
    network = trained(row, framework, seed, data=data, work=work, image_set=image_set, note=note)
    cfg, dataset = network.cfg, network.dataset
    scores = scores_of(look_at(cfg, network.checkpoint, framework, dataset, range(len(dataset))), dataset, cfg)
    details = {
        "scores": finite(scores),
        "image_set": network.image_set,
        **({IN_PLACE_OF: cfg.dataset.test_image_set} if image_set else {}),
        "updates": network.facts["updates"],
        "losses": network.facts["metrics"],
        "curve": loss_curve(cfg, work / METRICS),
    }
    return figures(row, scores), details


@dataclass(frozen=True)
class Trained:
    """A row's network after its training. dataset: the test images, of image_set. facts: of the training, by run_training."""

    cfg: Config
    checkpoint: Checkpoint
    dataset: Dataset
    image_set: str
    facts: dict[str, object]


def trained(
    row: Row, framework: str, seed: int, *, data: Path, work: Path, image_set: str | None, note: Callable[[str], None]
) -> Trained:
    """The row's network, trained here if it is not yet. Args, raises: as train_and_score."""
    cfg = row.load()
    scored = image_set or cfg.dataset.test_image_set
    if scored.startswith("test-dev"):
        raise InputError(
            f"{row.id}: {scored} has no public ground truth: use `dcn train {row.config}`, and send what "
            "`dcn eval --results FILE` writes to COCO's evaluation server, or score on images it was not trained on (--image-set)"
        )
    home = data / row.folder
    unsaid = data == DATA_FOLDER and not row.folder and not home.is_dir()
    folder = None if unsaid else home  # None: the configuration's dataset.dataset_path
    open_dataset(cfg, "train", folder)
    dataset = open_dataset(cfg, "test", folder, image_set=image_set)
    facts = run_training(Settings(row.config, framework, output=work, data=folder, resume=True, seed=seed))
    note(f"{row.id} {framework}: trained, {facts['updates']} updates; now measured on {scored}")
    return Trained(
        cfg, read_checkpoint(Path(str(facts["weights"])), cfg, config_name=row.config), dataset, scored, facts
    )


def loss_curve(cfg: Config, rows: Path) -> dict[str, list[float]]:
    """The sum of the losses over a training, from its metrics.jsonl: "update" (the last one of each mean) and "loss"."""
    metrics = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    blocks = np.array_split(np.arange(len(metrics)), min(len(metrics), CURVE_POINTS))
    total = np.array([sum(row[name] for name in task_of(cfg).losses) for row in metrics])
    return {
        "update": [metrics[block[-1]]["update"] for block in blocks if len(block)],
        "loss": [round(float(total[block].mean()), 5) for block in blocks if len(block)],
    }


def finite(scores: dict[str, float]) -> dict[str, float]:
    """Without the classes that the images show nothing of."""
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def figures(row: Row, scores: dict[str, float]) -> dict[str, float]:
    """Those of the scores that the table has columns for. Raises: InputError when it has none of them."""
    found: dict[str, float] = {}
    for column in row.columns:
        for name, value in scores.items():
            if any(
                name == wanted or (wanted.endswith(" ") and name.startswith(wanted))
                for wanted in MEASURED.get(column, ())
            ):
                found[column] = round(value, 4)
                break
    if not found:
        raise InputError(f"{row.id}: expected scores for {', '.join(row.columns)}, got {', '.join(scores)}")
    return found
