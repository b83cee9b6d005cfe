"""The training loop of the reference: batches in, parameters, metrics and checkpoints out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dcn_tasks.config import Config, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.scenes import scene_source
from dcn_tasks.streams import Draws
from dcn_tasks.task import task_of
from mxnet_ref.checkpoint import save_checkpoint, save_momentum
from mxnet_ref.executor import Arrays
from mxnet_ref.trainer import Batch, Trainer, schedule_of

OnStep = Callable[[int, dict[str, float], Mapping[str, np.ndarray]], None]


@dataclass
class Training:
    """What `train` leaves: parameters, auxiliary states, momentum by parameter, the metrics of every update, checkpoints."""

    arg: Arrays
    aux: Arrays
    momentum: Arrays = field(default_factory=dict)
    metrics: list[dict[str, float]] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)


def train(
    config: str | Path | Config,
    batches: Iterable[Batch],
    arg: Mapping[str, np.ndarray],
    aux: Mapping[str, np.ndarray],
    *,
    steps: int,
    seed: int = 0,
    updates_per_epoch: int | None = None,
    prefix: str | Path | None = None,
    momentum: Mapping[str, np.ndarray] | None = None,
    on_step: OnStep | None = None,
    progress: bool = True,
) -> Training:
    """Run `steps` updates.

    Args:
        batches: as the task's `batch` makes them; shapes may change from one to the next.
        arg, aux: parameters to start from, normalised box weights. momentum: see Training; None: zeros.
        seed: update n, counted from 1, draws from Draws(seed, n) inside the operators.
        updates_per_epoch: for TRAIN.lr_step and checkpoints; None: all updates are one epoch.
        prefix: of checkpoints PREFIX-%04d.params and .states.params after every epoch and at the end; None: none.
        on_step: called with (n, metrics, outputs by the task's output_names) after each update.
        progress: a bar with losses and remaining time on stderr.
    Raises: TrainingDiverged when a loss is not finite; InputError when parameters are missing or batches run out.
    """
    cfg = load_config(config)
    of_task = task_of(cfg)
    epoch_length = updates_per_epoch or steps
    schedule = schedule_of(cfg, epoch_length)
    trainer: Trainer | None = None
    result = Training(dict(arg), dict(aux))
    with bar(progress) as display:
        task = display.add_task("training (MXNet)", total=steps, losses="")
        for number, batch in zip(range(1, steps + 1), batches, strict=False):
            if trainer is None:
                trainer = Trainer(cfg, batch, arg, aux, schedule, momentum)
            outputs = trainer.update(batch, Draws(seed, number))
            result.metrics.append(of_task.metrics(outputs, batch))
            if on_step is not None:
                on_step(number, result.metrics[-1], outputs)
            display.update(task, advance=1, losses=summary(result.metrics, of_task.shown))
            if number % epoch_length == 0 or number == steps:
                result.arg, result.aux = trainer.parameters()
                result.momentum = trainer.momentum()
                if prefix is not None:
                    epoch = -(-number // epoch_length)
                    result.checkpoints.append(save_checkpoint(prefix, epoch, result.arg, result.aux, cfg))
                    save_momentum(prefix, epoch, result.momentum)
    if len(result.metrics) < steps:
        raise InputError(f"train: expected {steps} batches, got {len(result.metrics)}")
    return result


def scene_batches(config: str | Path | Config, *, seed: int = 0) -> Iterator[Batch]:
    """Training batches of generated scenes, without end: update n, from 1, sees scene n - 1 with Draws(seed, n)."""
    cfg = load_config(config)
    source, of_task = scene_source(cfg, "train", seed=seed), task_of(cfg)
    number = 0
    while True:
        scene = source[number]
        number += 1
        if len(scene.boxes):
            yield of_task.batch(scene, cfg, Draws(seed, number))


def bar(shown: bool) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, TextColumn("{task.fields[losses]}"), console=Console(stderr=True, quiet=not shown))


def summary(history: Sequence[Mapping[str, float]], shown: Sequence[str], window: int = 50) -> str:
    """Means of the last metrics, as the progress bar shows them."""
    last = history[-window:]
    return "  ".join(f"{name} {sum(step[name] for step in last) / len(last):.3f}" for name in shown)
