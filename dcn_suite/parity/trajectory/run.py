"""One network's training in both frameworks, judged."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from dcn_suite.parity.decisions import decisions_of
from dcn_suite.parity.report import Result
from dcn_suite.parity.rows import Row, Table, number
from dcn_suite.parity.run import Settings, versions
from dcn_suite.parity.segments import Segment
from dcn_suite.parity.trajectory.alone import FreeRunning, float64_rows
from dcn_suite.parity.trajectory.rows import (
    LOSS_TOLERANCE,
    WEIGHT_TOLERANCE,
    decisions_row,
    loss_row,
    relative,
    weight_rows,
)
from dcn_suite.parity.trajectory.updates import Update, mxnet_updates, starting_point, torch_training
from dcn_tasks.config import Config, load_config
from dcn_tasks.scenes import FORMS
from dcn_tasks.streams import Draws
from dcn_tasks.task import Task, task_of
from torch_port.models import replaying
from torch_port.models.replay import ReplayReport
from torch_port.training import Training

Step = Callable[[str], None]


def run_trajectory(
    config: str | Path | Config,
    settings: Settings,
    *,
    steps: int,
    step: Step = lambda text: None,
    loss_tolerance: float = LOSS_TOLERANCE,
    curves: bool = False,
    calibrated: bool = False,
) -> Result:
    """Compares `steps` updates in float32 and in float64, and the weights after the last one.

    Args:
        config: of any data set; it trains on generated scenes all the same, whose forms are its first classes.
        settings: seed is read; spoil is applied to PyTorch's networks.
        loss_tolerance: relative, of every loss at every update in float32.
        curves: follow the training that selects for itself to the end, and leave in facts["curves"] the losses of every
            update: name -> {"mxnet", "replayed", "selections", "alone", "mxnet64", "alone64"} -> list.
        calibrated: start from calibrated weights, whose offsets are of a pixel or two, instead of the original's initial ones.
    Raises: ModuleNotFoundError where MXNet is not installed.
    """
    began = time.monotonic()
    cfg = on_scenes(load_config(config))
    seed, task = settings.seed, task_of(cfg)
    start = starting_point(cfg, seed, calibrated=calibrated)
    replayed, free = (torch_training(cfg, start, steps, settings, "float32") for _ in range(2))
    selecting = torch_training(cfg, start, steps, settings, "float32") if curves else None
    table = Table()
    alone = FreeRunning(free, start.selecting, task, to_the_end=curves)
    drawn = {name: {"mxnet": [], "replayed": [], "selections": [], "alone": []} for name in task.losses}
    for update in mxnet_updates(cfg, start, steps, seed, "float32"):
        step(f"update {update.number} of {steps}")
        losses, report = replayed_step(replayed, start.deciding, update, seed, task)
        table.add(
            *(loss_row(update.number, name, update.losses[name], losses[name], loss_tolerance) for name in task.losses)
        )
        table.add(decisions_row(update.number, report))
        alone.follow(update, Draws(seed, update.number))
        selected = replayed_step(selecting, start.selecting, update, seed, task)[0] if selecting else {}
        for name, lines in drawn.items():
            values = {"mxnet": update.losses, "replayed": losses, "selections": selected, "alone": alone.losses}
            for line, each in values.items():
                lines[line].append(each.get(name))
    table.add(*weight_rows(replayed.network, update.weights(), cfg, WEIGHT_TOLERANCE), *alone.rows(steps))
    in_float64 = list(float64_rows(cfg, start, steps, settings, step))
    table.add(*in_float64)
    facts = {
        "config": str(config) if not isinstance(config, Config) else "a configuration",
        "size": "x".join(map(str, cfg.SCALES[0])),
        "grad": True,
        "seed": seed,
        "threads": torch.get_num_threads(),
        "seconds": time.monotonic() - began,
        "reference": "MXNet, run here",
        "versions": versions(),
    }
    if curves:
        for name, lines in drawn.items():
            of_loss = [row for row in in_float64 if row.quantity == f"{name} float64"]
            lines |= {"mxnet64": [row.expected for row in of_loss], "alone64": [row.got for row in of_loss]}
        facts |= {"curves": drawn, "first_difference": alone.difference or None}
    cards = [
        ("updates", str(steps)),
        ("largest relative difference of a loss, decisions replayed", number(worst_loss(table, task))),
        ("the same in float64, nothing replayed", number(worst_loss(in_float64, task, " float64"))),
    ]
    cards.append(("updates before PyTorch alone selects otherwise", str(alone.agreeing)))
    return Result(table, facts, cards)


def replayed_step(
    training: Training, deciding: list[Segment], update: Update, seed: int, task: Task
) -> tuple[dict[str, float], ReplayReport]:
    """Losses of one update that takes MXNet's decisions of these segments, and how many it would have made otherwise."""
    decisions = decisions_of(deciding, update.entries.__getitem__, offsets="cells")
    with replaying(training.network, decisions) as report:
        done = training.step(update.batch, Draws(seed, update.number))
    return task.metrics(done.outputs.arrays(), update.batch), report


def on_scenes(cfg: Config) -> Config:
    """The same network and recipe where images are generated."""
    if cfg.dataset.dataset == "Scenes":
        return cfg
    return load_config(cfg, dataset__dataset="Scenes", dataset__CLASS_NAMES=list(FORMS))


def worst_loss(rows: Iterable[Row], task: Task, suffix: str = "") -> float:
    """The largest relative difference of a loss."""
    names = {name + suffix for name in task.losses}
    return max((relative(row.got, row.expected) for row in rows if row.quantity in names), default=0.0)
