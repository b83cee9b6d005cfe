"""A training in MXNet, as dcn_suite.training runs it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import mxnet_ref
from dcn_suite.devices import refuse_device_for_mxnet
from dcn_suite.training.settings import Settings
from dcn_tasks.config import Config
from dcn_tasks.data import LoadedUpdate
from dcn_tasks.errors import InputError
from dcn_tasks.recipe import schedule_of
from dcn_tasks.training_loop import Update
from mxnet_ref.checkpoint import checkpoint_path, save_momentum, save_state
from mxnet_ref.executor import Arrays
from mxnet_ref.gradient_sums import check_kind
from mxnet_ref.processes import join
from mxnet_ref.trainer import Trainer
from weights_convert import Params, Sparse, load_params, rules_for
from weights_convert.arrays import Array

LAST = "last.params"
UPDATES = "updates"


class Run:
    """One training: its learner, and how its state is kept.

    Args: start: MXNet's names, normalised boxes. state: file of an earlier run to go on from, or None.
    """

    def __init__(
        self,
        cfg: Config,
        settings: Settings,
        start: Params,
        *,
        updates_per_epoch: int,
        images_per_update: int,
        warmup_from: int,
        state: Path | None,
    ):
        self.cfg = cfg
        self.arg, self.aux, self.momentum, self.updates = dict(start.arg), dict(start.aux), {}, 0
        if state is not None:
            self.arg, self.aux, self.momentum, self.updates = load_state(state, cfg)
        self.schedule = schedule_of(cfg, updates_per_epoch, warmup_from=warmup_from)
        self.images_per_update = images_per_update
        self.learner: Trainer | None = None

    LAST = LAST

    def begin(self, first: LoadedUpdate) -> None:
        """Module binds its arrays for the shapes of the first image."""
        self.learner = Trainer(
            self.cfg, first.images[0].batch, self.arg, self.aux, self.schedule, self.momentum,
            updates=self.updates, images_per_update=self.images_per_update, processes=join(),
        )  # fmt: skip

    @staticmethod
    def arrays(update: Update) -> list[dict]:
        return update.outputs

    def save_state(self, path: Path) -> None:
        save_state(path, *self.learner.parameters(), self.learner.momentum(), self.learner.updates)

    def save_epoch(self, prefix: Path, epoch: int) -> None:
        """PREFIX-%04d.params with `_test` copies, and PREFIX-%04d.states.params, as the original's."""
        save_momentum(prefix, epoch, self.learner.momentum())
        mxnet_ref.save_checkpoint(prefix, epoch, *self.learner.parameters(), self.cfg)

    def finish(self, folder: Path, prefix: Path, epoch: int) -> Path:
        """The last epoch's .params serves detection as it is."""
        return checkpoint_path(prefix, epoch)


def load_state(path: Path, cfg: Config) -> tuple[Arrays, Arrays, Arrays, int]:
    """(arg, aux, momentum, updates) that `save_state` wrote, read without MXNet, whose own reader believes a file's claims.

    Raises: InputError for a file that is missing, broken, or not the state of a training of this network.
    """
    found = dict(load_params(path).items())
    updates = updates_among(found, path)
    entries = rules_for(cfg).entries
    wanted = {f"{entry.state}:{name}": entry.shape for name, entry in entries.items()}
    known = wanted | {f"momentum:{name}": entry.shape for name, entry in entries.items() if entry.state == "arg"}
    groups: dict[str, Arrays] = {"arg": {}, "aux": {}, "momentum": {}}
    if missing := [name for name in wanted if name not in found]:
        raise InputError(
            f"{path}: expected the state of a training, it lacks {missing[0]} and {len(missing) - 1} others"
        )
    for name, array in found.items():
        if name == UPDATES:
            continue
        if problem := misfit(array, known.get(name)):
            raise InputError(f"{path}: {name}: {problem}: is it this training's {LAST}?")
        group, _, own = name.partition(":")
        groups[group][own] = np.array(array)
    return groups["arg"], groups["aux"], groups["momentum"], updates


def misfit(array: Array, shape: tuple[int, ...] | None) -> str | None:
    """What is wrong with an array of a state. Args: shape: of the network's array of this name; None: it has none."""
    if shape is None:
        return "expected the network's arrays alone, got one of another name"
    if isinstance(array, Sparse):
        return f"expected float32 {list(shape)}, got a sparse array"
    if array.dtype != np.float32 or array.shape != shape:
        return f"expected float32 {list(shape)}, got {array.dtype} {list(array.shape)}"
    # offsets that are no numbers end the process in MXNet 1.9.1's DeformablePSROIPooling
    return None if np.isfinite(array).all() else "expected finite numbers, got a NaN or an infinity"


def updates_among(found: Mapping[str, Array], path: Path) -> int:
    number = found.get(UPDATES)
    if not isinstance(number, np.ndarray) or number.shape != (1,) or number.dtype.kind not in "iu" or number[0] < 0:
        raise InputError(
            f"{path}: expected the state of a training, with one whole number, {UPDATES}: is it a checkpoint?"
        )
    return int(number[0])


def updates_of(state: Path) -> int:
    """How many a state holds. Raises: InputError as load_state."""
    return updates_among(dict(load_params(state).items()), state)


@contextmanager
def joined(cfg: Config, settings: Settings) -> Iterator[tuple[int, int]]:
    """(rank, number of processes), (0, 1) without MXNet's launcher. A scheduler or server ends in here.

    Raises: InputError for options that are PyTorch's, before anything is written.
    """
    refuse_device_for_mxnet(settings.device)
    for given, option in ((settings.amp, "--amp"), (settings.channels_last, "--channels-last")):
        if given:
            raise InputError(f"{option} is PyTorch's: leave it out, or train with --framework torch")
    processes = join()
    try:
        check_kind(cfg.default.kvstore, processes)
        yield processes.rank, processes.size
    except BaseException:
        processes.leave_the_others()
        raise


def wait_for_others() -> None:
    join().wait()
