"""The training loop of the reference: batches in, parameters, metrics and checkpoints out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from dcn_tasks.config import Config, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.recipe import schedule_of
from dcn_tasks.scenes import scene_source
from dcn_tasks.streams import Draws
from dcn_tasks.task import task_of
from dcn_tasks.training_log import means, training_bar
from dcn_tasks.training_loop import Image, Update, run_updates
from mxnet_ref.checkpoint import save_checkpoint, save_momentum
from mxnet_ref.executor import Arrays
from mxnet_ref.trainer import Batch, Trainer

SHOWN_UPDATES = 50  # whose mean the bar shows
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
    given = iter(batches)
    first = next(given, None)
    if first is None:
        raise InputError(f"train: expected {steps} batches, got 0: give more, or fewer updates")
    trainer = Trainer(cfg, first, arg, aux, schedule_of(cfg, epoch_length), momentum)
    result = Training(dict(arg), dict(aux))
    with training_bar(progress) as display:
        task = display.add_task("training (MXNet)", total=steps, now="")

        def watch(update: Update, images: Sequence[Image]) -> None:
            outputs = update.outputs[0]
            result.metrics.append(of_task.metrics(outputs, images[0].batch))
            if on_step is not None:
                on_step(update.number, result.metrics[-1], outputs)
            recent = means(result.metrics[-SHOWN_UPDATES:])
            display.update(task, advance=1, now="  ".join(f"{name} {recent[name]:.3f}" for name in of_task.shown))

        def save(number: int) -> None:
            result.arg, result.aux = trainer.parameters()
            result.momentum = trainer.momentum()
            if prefix is not None:
                epoch = -(-number // epoch_length)
                result.checkpoints.append(save_checkpoint(prefix, epoch, result.arg, result.aux, cfg))
                save_momentum(prefix, epoch, result.momentum)

        images = ([Image(batch, Draws(seed, number))] for number, batch in enumerate(chain([first], given), 1))
        run_updates(trainer, images, last=steps, watch=watch, checkpoints=[(epoch_length, save)])
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
