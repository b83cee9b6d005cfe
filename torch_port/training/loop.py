"""The training loop: one image per step, as in the original."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dcn_tasks.errors import InputError
from dcn_tasks.schedule import WarmupMultiFactor
from dcn_tasks.streams import Draws
from torch_port.models import ClassAwareRPN, DeepLab, TrainingOutputs, TwoStage
from torch_port.training.checkpoint import Checkpoint, restore, save_checkpoint
from torch_port.training.diagnose import first_nonfinite
from torch_port.training.sgd import SGD

Batch = Mapping[str, np.ndarray]


class TrainingDiverged(ArithmeticError):
    """The loss is not finite any more; the message names the step and the first layer that is to blame."""


@dataclass(frozen=True)
class Step:
    """What on_step gets: number of updates done, learning rate of this update, batch and outputs of its forward."""

    number: int
    lr: float
    batch: Batch
    outputs: TrainingOutputs


@dataclass
class Training:
    """A network, its optimiser and its schedule, one image per `step`.

    Args:
        network: in training mode; frozen batch normalisation stays frozen by itself.
        optimizer, schedule: lr of update n is schedule(n), n from 1.
        seed: of every random stream; update n draws from Draws(seed, n).
        updates: done so far.
    """

    network: TwoStage | ClassAwareRPN | DeepLab
    optimizer: SGD
    schedule: WarmupMultiFactor
    seed: int = 0
    updates: int = 0

    def step(self, batch: Batch, draws: Draws | None = None) -> Step:
        """Forward, backward and update on one image.

        Args:
            draws: random streams of this step; None: Draws(seed, number of this update).
        Raises: TrainingDiverged when the loss is not finite; the weights are then those before the step.
        """
        number = self.updates + 1
        draws = draws or Draws(self.seed, number)
        lr = self.schedule(number)
        self.optimizer.set_lr(lr)
        self.optimizer.zero_grad(set_to_none=True)
        try:
            outputs = self.network.forward_train(batch, draws)
        except (RuntimeError, ValueError) as error:  # proposals refuse scores that are not finite
            blame = first_nonfinite(self.network, lambda: self.network.forward_train(batch, draws))
            if blame is None:
                raise
            raise TrainingDiverged(self.farewell(number, lr, str(error), blame)) from error
        if not torch.isfinite(outputs.loss):
            blame = first_nonfinite(self.network, lambda: self.network.forward_train(batch, draws))
            terms = ", ".join(f"{name} {term.item():g}" for name, term in outputs.terms.items())
            raise TrainingDiverged(self.farewell(number, lr, f"{outputs.loss.item():g} ({terms})", blame))
        outputs.loss.backward()
        self.optimizer.step()
        self.updates = number
        return Step(number, lr, batch, outputs)

    def farewell(self, number: int, lr: float, got: str, blame: str | None) -> str:
        return (
            f"training: expected a finite loss, got {got} at update {number}, lr {lr:g}: "
            f"{blame or 'every layer is finite, the loss alone is not'}; go back to the last checkpoint with a lower "
            "TRAIN.lr or a longer warm-up, or look at this image's boxes"
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Weights, momentum and number of updates of a checkpoint."""
        restore(checkpoint, self.network, self.optimizer)
        self.updates = checkpoint.step


def train(
    training: Training,
    batches: Iterable[Batch],
    *,
    steps: int,
    updates_per_epoch: int | None = None,
    prefix: Path | str | None = None,
    config: Mapping | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    progress: bool = True,
) -> list[Path]:
    """Runs `steps` updates, with a progress bar on stderr and a checkpoint after every epoch.

    Args:
        training: network, optimiser and schedule; goes on from training.updates.
        batches: as dcn_tasks.batch.training_batch makes them, e.g. from `shuffled`; shapes may change.
        updates_per_epoch: for checkpoints; None: all updates are one epoch.
        prefix: of checkpoints PREFIX-EPOCH.safetensors, also written at the end; None: no checkpoints.
        config: resolved configuration, saved in every checkpoint.
        on_step: called after every update.
        progress: whether there is a bar.
    Returns: the checkpoints written.
    Raises: TrainingDiverged; checkpoints already written stay. InputError when batches run out.
    """
    written: list[Path] = []
    last = training.updates + steps
    epoch_length = updates_per_epoch or last
    training.network.train()
    with bar(progress) as display:
        task = display.add_task("training", total=last, completed=training.updates, now="")
        for batch in islice(batches, steps):
            step = training.step(batch)
            on_step(step)
            display.update(task, advance=1, now=f"loss {step.outputs.loss.item():.3f}  lr {step.lr:g}")
            if prefix is not None and (step.number % epoch_length == 0 or step.number == last):
                path = Path(f"{prefix}-{-(-step.number // epoch_length):04d}.safetensors")
                save_checkpoint(path, training.network, training.optimizer, step=step.number, config=config or {})
                written.append(path)
    if training.updates < last:
        raise InputError(
            f"train: expected {steps} batches, got {steps - last + training.updates}: give more, or fewer steps"
        )
    return written


def shuffled(make: Callable[[int, Draws], Batch], count: int, *, seed: int, first_update: int = 1) -> Iterator[Batch]:
    """Batches without end, epoch by epoch, each image once an epoch.

    Args:
        make: (index of an image in 0..count-1, the update's Draws) -> its training batch.
        count: number of images. seed: the order of epoch e comes from site "order" of Draws(seed, e); update n, from 1,
            gets Draws(seed, n), as in Training.step.
        first_update: number of the update that the first batch is for: training.updates + 1 to go on.
    """
    number = first_update
    while True:
        epoch, position = divmod(number - 1, count)
        order = Draws(seed, epoch).generator("order").permutation(count)
        for index in order[position:]:
            yield make(int(index), Draws(seed, number))
            number += 1


def bar(shown: bool) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, TextColumn("{task.fields[now]}"), console=Console(stderr=True), disable=not shown)
