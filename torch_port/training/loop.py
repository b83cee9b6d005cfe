"""The training loop: one image per step, as in the original."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dcn_tasks.schedule import WarmupMultiFactor
from dcn_tasks.streams import Draws
from torch_port.models import RFCN, TrainingOutputs
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

    network: RFCN
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
    batches: Callable[[int, Draws], Batch],
    *,
    updates_per_epoch: int,
    updates: int,
    folder: Path | str | None = None,
    prefix: str = "model",
    config: Mapping | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    console: Console | None = None,
) -> list[Path]:
    """Trains until `updates` updates are done, with a progress bar on stderr and a checkpoint after every epoch.

    Args:
        training: network, optimiser and schedule; goes on from training.updates.
        batches: (index of an image in 0..updates_per_epoch-1, the update's Draws) -> its training batch.
        updates_per_epoch: number of images; each epoch visits all, in an order drawn at site "order".
        updates: number of updates to end with.
        folder: where checkpoints PREFIX-EPOCH.safetensors go; None: no checkpoints.
        config: resolved configuration, saved in every checkpoint.
        on_step: called after every update.
    Returns: the checkpoints written; the last one is written at the end, also in the middle of an epoch.
    Raises: TrainingDiverged; checkpoints already written stay.
    """
    written: list[Path] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    training.network.train()
    with Progress(*columns, TimeRemainingColumn(), console=console or Console(stderr=True)) as progress:
        task = progress.add_task("training", total=updates, completed=training.updates)
        while training.updates < updates:
            epoch, position = divmod(training.updates, updates_per_epoch)
            order = Draws(training.seed, epoch).generator("order").permutation(updates_per_epoch)
            draws = Draws(training.seed, training.updates + 1)
            step = training.step(batches(int(order[position]), draws), draws)
            on_step(step)
            description = f"loss {step.outputs.loss.item():.3f}  lr {step.lr:g}"
            progress.update(task, completed=step.number, description=description)
            if folder is not None and (position + 1 == updates_per_epoch or step.number == updates):
                path = Path(folder) / f"{prefix}-{epoch + 1:04d}.safetensors"
                save_checkpoint(path, training.network, training.optimizer, step=step.number, config=config or {})
                written.append(path)
    return written
