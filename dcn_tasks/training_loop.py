"""The loop that trains a network, the same for both frameworks: batches in, updates, checkpoints."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws

Arrays = Mapping[str, np.ndarray]


class TrainingDiverged(ArithmeticError):
    """A loss is no longer finite; the message names the update and the first layer that is to blame."""


@dataclass(frozen=True)
class Image:
    """One image of an update: its training batch, and the random streams that the network draws from."""

    batch: Arrays
    draws: Draws


@dataclass(frozen=True)
class Update:
    """What an update leaves: its number, from 1; its learning rate; the outputs of the training graph for each image of
    this process, in the framework's own form."""

    number: int
    lr: float
    outputs: list[Any]


class Learner(Protocol):
    """A network with its optimiser and schedule, in either framework. updates: done so far."""

    updates: int

    def update(self, images: Iterable[Image]) -> Update:
        """Forward and backward for every image, one step of the optimiser. Raises: TrainingDiverged."""


def run_updates(
    learner: Learner,
    batches: Iterable[Iterable[Image]],
    *,
    last: int,
    watch: Callable[[Update, list[Image]], None],
    checkpoints: Sequence[tuple[int, Callable[[int], None]]],
) -> None:
    """Updates until number `last` is done.

    Args:
        batches: the images of the next update, of the one after it ...
        watch: called after every update. checkpoints: (interval in updates, what to call with the number of an update that
            the interval divides, and with the last one's).
    Raises: InputError when batches run out. TrainingDiverged.
    """
    given, first = iter(batches), learner.updates
    while learner.updates < last:
        try:
            images = list(next(given))
        except StopIteration:
            raise InputError(
                f"train: expected {last - first} batches, got {learner.updates - first}: give more, or fewer updates"
            ) from None
        watch(learner.update(images), images)
        for interval, save in checkpoints:
            if learner.updates % interval == 0 or learner.updates == last:
                save(learner.updates)
