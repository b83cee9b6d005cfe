"""From a data set to training batches: the same bit for bit in both frameworks, on any number of workers, after any stop."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.data.dataset import Dataset
from dcn_tasks.data.order import epoch_order
from dcn_tasks.data.sample import Sample
from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws
from dcn_tasks.task import SEGMENTATION, task_of

LOG = logging.getLogger("dcn.data")
MAX_TRIES = 20  # images tried in place of one that cannot be used


@dataclass(frozen=True)
class LoadedImage:
    """One image of an update: id of its sample, training batch, and the random streams that the network goes on with."""

    id: str
    batch: dict[str, np.ndarray]
    draws: Draws


@dataclass(frozen=True)
class LoadedUpdate:
    """number: of the update, from 1. epoch, step: from 0. images: those of this process."""

    number: int
    epoch: int
    step: int
    images: tuple[LoadedImage, ...]


class Loader:
    """Training batches of a data set, update by update.

    Image k (from 0) of update n (from 1) is a function of (data set, cfg, seed, images_per_update, n, k) alone: its streams
    are Draws(seed, (n - 1) * images_per_update + k + 1), the order of an epoch comes from Draws(seed, epoch). So a training
    that goes on from update n sees what it would have seen.

    Args:
        dataset: with objects for detection, with label maps for segmentation; images without anything to train on are left
            out, as in the original.
        cfg: TRAIN.FLIP, SHUFFLE, ASPECT_GROUPING and dataset.MODE are read here, the rest by the task's `batch`.
        images_per_update: over all devices and processes.
        workers: threads that prepare batches ahead; 0: none, each is made when it is asked for.
        bad: "stop": the first image that cannot be read or trained on ends the run with a sentence; "skip": the next one of
            the data set takes its place, and `skipped` keeps the sentence by id.
        part, parts: this is process `part` of `parts`; it gets images part, part + parts, ... of every update.
    Raises: InputError when there is nothing to train on, or less than one update.
    """

    def __init__(
        self,
        dataset: Dataset,
        cfg: Config,
        *,
        seed: int = 0,
        images_per_update: int = 1,
        workers: int = 0,
        bad: str = "stop",
        part: int = 0,
        parts: int = 1,
    ):
        if bad not in ("stop", "skip"):
            raise InputError(f"loader: bad: expected stop or skip, got {bad!r}")
        if images_per_update % parts:
            raise InputError(
                f"loader: {images_per_update} images an update cannot be shared by {parts} processes: give a multiple"
            )
        self.dataset, self.cfg, self.seed = dataset, cfg, seed
        self.images_per_update, self.workers, self.bad, self.part, self.parts = (
            images_per_update,
            workers,
            bad,
            part,
            parts,
        )
        self.task = task_of(cfg)
        self.skipped: dict[str, str] = {}
        kept, self._wide = dataset.to_train_on(segmentation=self.task is SEGMENTATION)
        mirrors = 2 if cfg.TRAIN.FLIP else 1
        self._index = np.concatenate([kept + mirrored * len(dataset) for mirrored in range(mirrors)])
        self._wide = np.tile(self._wide, mirrors)
        self.updates_per_epoch = len(self._index) // images_per_update
        if self.updates_per_epoch == 0:
            raise InputError(
                f"{dataset.name}: expected at least {images_per_update} images to train on, got {len(self._index)}"
            )

    def order(self, epoch: int) -> np.ndarray:
        """[updates_per_epoch, images_per_update] of an epoch (from 0); index i + len(dataset) is image i mirrored."""
        grouped = self.cfg.TRAIN.ASPECT_GROUPING and self.task is not SEGMENTATION  # DeepLab's loader groups nothing
        order = epoch_order(
            len(self._index),
            Draws(self.seed, epoch),
            images_per_update=self.images_per_update,
            shuffle=self.cfg.TRAIN.SHUFFLE,
            wide=self._wide if grouped else None,
            original=self.cfg.dataset.MODE == "original",
        )
        return self._index[order]

    def updates(self, first: int = 1) -> Iterator[LoadedUpdate]:
        """Updates without end, from number `first` on; close() the iterator, or drop it, to stop the workers."""
        if self.workers <= 0:
            yield from (job() for job in self._jobs(first))
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="dcn-data")
        waiting: deque[Future[LoadedUpdate]] = deque()
        try:
            for job in self._jobs(first):
                waiting.append(pool.submit(job))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _jobs(self, first: int) -> Iterator[Callable[[], LoadedUpdate]]:
        number = first
        while True:
            epoch, start = divmod(number - 1, self.updates_per_epoch)
            for step, row in enumerate(self.order(epoch)[start:], start=start):
                yield partial(self._update, number, epoch, step, row)
                number += 1

    def _update(self, number: int, epoch: int, step: int, row: np.ndarray) -> LoadedUpdate:
        places = range(self.part, len(row), self.parts)
        return LoadedUpdate(number, epoch, step, tuple(self._image(number, place, row[place]) for place in places))

    def _image(self, number: int, place: int, index: int) -> LoadedImage:
        """The image at an index of `order`; in place of one without objects, and of a bad one if told so, the next."""
        draws = Draws(self.seed, (number - 1) * self.images_per_update + place + 1)
        reason = "none has an object"
        first = int(np.searchsorted(self._index, index))
        for at in range(first, first + MAX_TRIES):
            sample = self.sample(int(self._index[at % len(self._index)]))
            if self.task is not SEGMENTATION and not sample.trainable.any():  # only a generated scene gets here
                continue
            try:
                return LoadedImage(sample.id, self.task.batch(sample.read(), self.cfg, draws), draws)  # type: ignore[arg-type]
            except InputError as error:
                if self.bad == "stop":
                    raise
                reason = str(error)
                if self.skipped.setdefault(sample.id, reason) is reason:
                    LOG.warning("left out: %s", reason)
        raise InputError(f"{self.dataset.name}: {MAX_TRIES} images in a row cannot be used; the last: {reason}")

    def sample(self, index: int) -> Sample:
        """The sample of an index of `order`."""
        mirrored, index = divmod(index, len(self.dataset))
        return self.dataset[index].mirror() if mirrored else self.dataset[index]
