"""Training in PyTorch: forward and backward for every image of an update, then one step of the optimiser."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from dcn_tasks.schedule import WarmupMultiFactor
from dcn_tasks.streams import Draws
from dcn_tasks.training_log import training_bar
from dcn_tasks.training_loop import Image, TrainingDiverged, Update, run_updates
from torch_port.models import Network, Outputs
from torch_port.training.checkpoint import Checkpoint, restore, save_checkpoint
from torch_port.training.diagnose import first_nonfinite
from torch_port.training.parallel import Parallel
from torch_port.training.sgd import SGD
from torch_port.training.statistics import averaged_statistics

Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Step:
    """What on_step gets: number of updates done, learning rate of this update, batch and outputs of its forward."""

    number: int
    lr: float
    batch: Batch
    outputs: Outputs


@dataclass
class Training:
    """A network, its optimiser and its schedule.

    Args:
        network: in training mode; frozen batch normalisation stays frozen by itself.
        optimizer, schedule: lr of update n is schedule(n), n from 1.
        seed: of every random stream; of one image an update, update n draws from Draws(seed, n).
        updates: done so far.
        amp: data type of automatic mixed precision, None: float32 everywhere. Losses and boxes stay float32.
        channels_last: whether images come in that memory format, as the weights then should be.
        parallel: how processes share an update; the default is one process alone.
    """

    network: Network
    optimizer: SGD
    schedule: WarmupMultiFactor
    seed: int = 0
    updates: int = 0
    amp: torch.dtype | None = None
    channels_last: bool = False
    parallel: Parallel = field(default_factory=Parallel)

    def update(self, images: Iterable[Image]) -> Update:
        """One update from the images of this process; gradients are summed over images and processes.

        Every image starts from the same moving statistics, whose means over the images are kept, as the original keeps
        the mean over its devices.
        Raises: TrainingDiverged when a loss is not finite, the weights are then those before the update; or when it is they
            that overflow.
        """
        images = list(images)
        number = self.updates + 1
        lr = self.schedule(number)
        self.optimizer.set_lr(lr)
        self.optimizer.zero_grad(set_to_none=True)
        outputs = []
        with averaged_statistics(self.network, self.parallel) as next_image:
            for place, image in enumerate(images):
                next_image()
                with self.parallel.gradients_stay_here(place < len(images) - 1):
                    outputs.append(self.learn_from(image, number, lr))
        self.optimizer.step()
        self.updates = number
        self.refuse_overflow(lr)
        return Update(number, lr, outputs)

    def refuse_overflow(self, lr: float) -> None:
        """Raises: TrainingDiverged when the squares of a trained parameter do not add up to a finite number: nobody saves those."""
        trained = {name: each.detach() for name, each in self.network.named_parameters() if each.requires_grad}
        if torch.isfinite(torch.nn.utils.get_total_norm(list(trained.values()))):
            return
        if bad := [name for name, each in trained.items() if not torch.isfinite(each.norm())]:
            raise TrainingDiverged(
                f"training: expected finite weights after update {self.updates}, lr {lr:g}, got overflow in {bad[0]} and "
                f"{len(bad) - 1} others: start again from the last checkpoint (--weights, another --output) with a lower TRAIN.lr or "
                "a longer warm-up"
            )

    def step(self, batch: Batch, draws: Draws | None = None) -> Step:
        """An update from one image.

        Args: draws: random streams of this step; None: Draws(seed, number of this update).
        Raises: as update.
        """
        update = self.update([Image(batch, draws or Draws(self.seed, self.updates + 1))])
        return Step(update.number, update.lr, batch, update.outputs[0])

    def learn_from(self, image: Image, number: int, lr: float) -> Outputs:
        """Adds the gradients of one image. Raises: TrainingDiverged."""
        try:
            outputs = self.forward(image)
        except (RuntimeError, ValueError) as error:  # proposals refuse scores that are not finite
            blame = first_nonfinite(self.network, lambda: self.alone(image))
            if blame is None:
                raise
            raise TrainingDiverged(farewell(number, lr, str(error), blame)) from error
        if not torch.isfinite(outputs.loss):
            blame = first_nonfinite(self.network, lambda: self.alone(image))
            terms = ", ".join(f"{name} {term.item():g}" for name, term in outputs.terms.items())
            raise TrainingDiverged(farewell(number, lr, f"{outputs.loss.item():g} ({terms})", blame))
        outputs.loss.backward()
        return outputs

    def forward(self, image: Image) -> Outputs:
        batch: Mapping[str, np.ndarray | torch.Tensor] = image.batch
        if self.channels_last:
            data = torch.as_tensor(batch["data"]).contiguous(memory_format=torch.channels_last)
            batch = {**batch, "data": data}
        with self.precision():
            return self.parallel.forward_train(self.network, batch, image.draws)

    def alone(self, image: Image) -> Outputs:
        """A forward pass that no other process waits for."""
        with self.precision():
            return self.network.forward_train(image.batch, image.draws)

    def precision(self):
        if self.amp is None:
            return nullcontext()
        return torch.autocast(next(self.network.parameters()).device.type, self.amp)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Weights, momentum and number of updates of a checkpoint."""
        restore(checkpoint, self.network, self.optimizer)
        self.updates = checkpoint.step


def farewell(number: int, lr: float, got: str, blame: str | None) -> str:
    return (
        f"training: expected a finite loss, got {got} at update {number}, lr {lr:g}: "
        f"{blame or 'every layer is finite, the loss alone is not'}; start again from the last checkpoint "
        "(--weights, another --output) with a lower TRAIN.lr or a longer warm-up, or look at this image's boxes"
    )


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
    """Runs `steps` updates of one image each, with a progress bar on stderr and a checkpoint after every epoch.

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
    first = training.updates + 1
    with training_bar(progress) as display:
        bar = display.add_task("training", total=last, completed=training.updates, now="")

        def watch(update: Update, images: Sequence[Image]) -> None:
            step = Step(update.number, update.lr, images[0].batch, update.outputs[0])
            on_step(step)
            display.update(bar, advance=1, now=f"loss {step.outputs.loss.item():.3f}  lr {step.lr:g}")

        def save(number: int) -> None:
            path = Path(f"{prefix}-{-(-number // epoch_length):04d}.safetensors")
            save_checkpoint(path, training.network, training.optimizer, step=number, config=config or {})
            written.append(path)

        run_updates(
            training,
            ([Image(batch, Draws(training.seed, number))] for number, batch in enumerate(batches, first)),
            last=last,
            watch=watch,
            checkpoints=[(epoch_length, save)] if prefix is not None else [],
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
