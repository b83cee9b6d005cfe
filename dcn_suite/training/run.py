"""One training from its first update, or from where it stopped, to its last."""

import importlib
import importlib.metadata
import os
import platform
from contextlib import nullcontext, suppress
from itertools import chain
from pathlib import Path
from types import ModuleType

from dcn_suite.training.settings import Settings
from dcn_suite.training.start import starting_weights
from dcn_tasks.config import Config, load_config
from dcn_tasks.data import Loader, open_dataset
from dcn_tasks.errors import InputError
from dcn_tasks.recipe import images_per_update
from dcn_tasks.run_folder import RunFolder
from dcn_tasks.task import Task, task_of
from dcn_tasks.training_log import METRICS, ROW_FACTS, TrainingLog, means, read_rows
from dcn_tasks.training_loop import Image, Update, run_updates

FRAMEWORKS = ("torch", "mxnet")


def run_training(settings: Settings) -> dict[str, object]:
    """Trains, and leaves in settings.output: run.json, config.yaml, training.log, metrics.jsonl, tensorboard/, a checkpoint
    per epoch, the state to resume from, and for PyTorch model.safetensors.

    Returns: facts: rank of this process, updates, epochs, last metrics; checkpoint, which the first process writes.
    Raises: InputError; TrainingDiverged, after which the last state is still there.
    """
    cfg = load_config(settings.config)
    framework = module_of(settings.framework)
    with framework.joined(cfg, settings) as (rank, processes):
        return {"rank": rank, **run_part(cfg, settings, framework, rank, processes)}


def run_part(cfg: Config, settings: Settings, framework: ModuleType, rank: int, processes: int) -> dict[str, object]:
    """The training, as process `rank` of `processes` that share its updates. Returns, raises: as run_training."""
    images = settings.images_per_update or images_per_update(cfg)
    if images < processes:
        raise InputError(
            f"{settings.config}: expected an image an update for each of {processes} processes, got {images}: name as many devices in "
            "gpus, or give --images-per-update; gradients of more images make a larger step (docs/training.md)"
        )
    bad = "skip" if settings.skip_bad else "stop"
    loader = Loader(
        open_dataset(cfg, "train", settings.data, bad=bad), cfg, seed=settings.seed, images_per_update=images,
        workers=settings.workers, bad=bad, part=rank, parts=processes,
    )  # fmt: skip
    last = settings.steps or round(cfg.TRAIN.end_epoch * loader.updates_per_epoch)
    if last <= 0:
        raise InputError(f"{settings.config}: TRAIN.end_epoch is {cfg.TRAIN.end_epoch}: set it, or give --steps")
    start, notes = starting_weights(cfg, settings.seed, settings.weights, from_scratch=settings.from_scratch)
    folder = RunFolder(settings.output, cfg.TRAIN.model_prefix or "model")
    with folder.alone() if rank == 0 else nullcontext():
        if rank == 0:
            folder.begin(cfg, facts_of(settings, loader, images, processes), resume=settings.resume)
        framework.wait_for_others()
        state = folder.path / framework.LAST
        state = state if settings.resume and state.is_file() else None
        run = framework.Run(
            cfg, settings, start, updates_per_epoch=loader.updates_per_epoch, images_per_update=images, state=state,
            warmup_from=warmup_begins(folder, framework, state, settings, rank),
        )  # fmt: skip
        if run.updates > last:
            raise InputError(
                f"{settings.output}: holds {run.updates} updates, expected to go on to {last}: give more --steps (or "
                "TRAIN.end_epoch), or another --output"
            )
        task = task_of(cfg)
        log = TrainingLog(
            f"training ({settings.framework})", done=run.updates, last=last, epoch_length=loader.updates_per_epoch,
            every=cfg.default.frequent, shown=task.shown, folder=folder.path if rank == 0 else None,
            progress=settings.progress and rank == 0,
        )  # fmt: skip
        with log:
            if state is None:
                for sentence in [*notes, *not_obeyed(cfg), *(f"left out: {note}" for note in loader.dataset.notes)]:
                    log.say(sentence)
            return follow(run, loader, folder, log, task, last=last, save_every=settings.save_every, saves=rank == 0)


def follow(
    run, loader: Loader, folder: RunFolder, log: TrainingLog, task: Task, *, last: int, save_every: int, saves: bool
) -> dict[str, object]:
    """The updates that are left, with their log and checkpoints. run: of in_torch or in_mxnet. Returns: as run_training."""
    newest: dict[str, float] = {}
    told: set[str] = set()  # images that are known to be left out, by id

    def epoch_of(number: int) -> int:
        return -(-number // loader.updates_per_epoch)

    def watch(update: Update, images: list[Image]) -> None:
        pairs = zip(run.arrays(update), images, strict=True)
        newest.update(means([task.metrics(outputs, image.batch) for outputs, image in pairs]))
        log.update(update.number, update.lr, dict(newest))
        for id in [each for each in list(loader.skipped) if each not in told]:
            told.add(id)
            log.say(f"left out: {loader.skipped[id]}")

    def save_epoch(number: int) -> None:
        run.save_epoch(folder.prefix, epoch_of(number))

    state = folder.path / run.LAST
    if run.updates < last:
        updates = loader.updates(run.updates + 1)
        first = next(updates)
        run.begin(first)
        run_updates(
            run.learner,
            (update.images for update in chain([first], updates)),
            last=last,
            watch=watch,
            checkpoints=((loader.updates_per_epoch, save_epoch), (save_every, lambda _: run.save_state(state)))
            if saves
            else (),
        )
    newest = newest or last_metrics(folder.path)
    weights = run.finish(folder.path, folder.prefix, epoch_of(last)) if saves else None
    return {
        "updates": last,
        "epochs": last / loader.updates_per_epoch,
        "images_per_update": loader.images_per_update,
        "metrics": newest,
        "left_out": [*loader.dataset.notes, *loader.skipped.values()],
        "weights": str(weights) if weights else None,
        "output": str(folder.path),
    }


def last_metrics(folder: Path) -> dict[str, float]:
    """The last row of a training that was done already."""
    *_, last = [{}, *read_rows(folder / METRICS)]
    return {name: value for name, value in last.items() if name not in ROW_FACTS}


def not_obeyed(cfg: Config) -> list[str]:
    """What the configuration asks for in the original's words and this training does otherwise, in a sentence."""
    if not cfg.TRAIN.RESUME:
        return []
    return [
        f"TRAIN.RESUME and TRAIN.begin_epoch ({cfg.TRAIN.begin_epoch}) are not read, this training begins with update 1: "
        "--resume goes on with one that was stopped, --weights begins with a checkpoint's"
    ]


def module_of(framework: str) -> ModuleType:
    """in_torch or in_mxnet. Raises: ModuleNotFoundError without the framework."""
    return importlib.import_module(f"dcn_suite.training.in_{framework}")


def warmup_begins(folder: RunFolder, framework: ModuleType, state: Path | None, settings: Settings, rank: int) -> int:
    """Updates done before the warm-up: 0, or where --restart-warmup began it again; kept in run.json."""
    facts = folder.facts()
    if state is not None and settings.restart_warmup:
        facts["warmup_from"] = framework.updates_of(state)
        if rank == 0:
            folder.write_facts(facts)
    return int(facts.get("warmup_from", 0))


def facts_of(settings: Settings, loader: Loader, images: int, processes: int) -> dict[str, object]:
    """What a training's result depends on, beside its configuration."""
    weights = settings.weights
    return {
        "framework": settings.framework,
        "config": settings.config,
        "seed": settings.seed,
        "data": loader.dataset.name,
        "data_folder": str(settings.data) if settings.data else None,
        "images": len(loader.dataset),
        "updates_per_epoch": loader.updates_per_epoch,
        "images_per_update": images,
        "processes": processes,
        "weights": str(weights) if weights else None,
        "from_scratch": settings.from_scratch,
        "device": settings.device,
        "amp": settings.amp,
        "channels_last": settings.channels_last,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for package in ("dcn-port", "torch", "mxnet", "numpy", "opencv-python-headless"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
