"""The folder of one training: what it was started with, its checkpoints, and whether another start may go on in it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from dcn_tasks.config import Config, dump, read_yaml
from dcn_tasks.config_ranges import leaves
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path, claimed
from dcn_tasks.training_log import METRICS

FACTS, CONFIG, LOCK = "run.json", "config.yaml", ".lock"
MAY_DIFFER = ("versions", "threads")  # of the facts: the recipe is the same, the last bits may not be
FREE_TO_CHANGE = ("TRAIN.end_epoch", "default.frequent")  # a longer training of the same recipe goes on bit for bit


class RunFolder:
    """Where one training writes.

    Args: path: the folder, new or of the same training. prefix: of its checkpoints' names.
    """

    def __init__(self, path: Path, prefix: str):
        self.path, self.prefix = path, path / prefix

    @property
    def begun(self) -> bool:
        """Whether a training is in it that did something: one that was refused at its start may be put right and start anew."""
        done = (self.path / METRICS, *self.path.glob("last.*"), *self.path.glob(f"{self.prefix.name}-*"))
        return (self.path / FACTS).is_file() and any(file.is_file() for file in done)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process writes here meanwhile. Raises: InputError where one does, or where `path` is a file."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: expected a folder to write a training into, got a file")
        with claimed(self.path / LOCK) as mine:
            if not mine:
                raise InputError(
                    f"{self.path}: another process trains in this folder now: wait for it, or give another --output"
                )
            yield

    def begin(self, cfg: Config, facts: Mapping[str, object], *, resume: bool) -> dict[str, Any]:
        """Take the folder: run.json (`facts`) and config.yaml, or, to go on, check that they are the same.

        Args: facts: what the result depends on beside the configuration: framework, seed, data ..., as JSON has it.
        Returns: the facts on record.
        Raises: InputError for a folder that holds a training and no --resume, or one of another recipe.
        """
        if self.begun and not resume:
            raise InputError(
                f"{self.path}: holds a training already: add --resume to go on with it, or give another --output"
            )
        if self.begun:
            self.refuse_another(cfg, facts)
            self.remove_halves()
            return self.facts()
        with atomic_path(self.path / CONFIG) as temporary:
            temporary.write_text(dump(cfg), encoding="utf-8")
        self.write_facts(facts)
        return dict(facts)

    def facts(self) -> dict[str, Any]:
        """What run.json holds. Raises: InputError for something else."""
        file = self.path / FACTS
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(found, dict) or not isinstance(found.get("warmup_from", 0), int):
                raise ValueError("its values are of other kinds")
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{file}: expected what `dcn train` writes, got something else ({error}): give another --output"
            ) from error
        return found

    def write_facts(self, facts: Mapping[str, object]) -> None:
        with atomic_path(self.path / FACTS) as temporary:
            temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    def refuse_another(self, cfg: Config, facts: Mapping[str, object]) -> None:
        recorded = {name: value for name, value in self.facts().items() if name in facts}
        differing = {
            name: (recorded.get(name), value)
            for name, value in json.loads(json.dumps(facts)).items()
            if name not in MAY_DIFFER and recorded.get(name) != value
        }
        before = dict(leaves(read_yaml(self.path / CONFIG)))
        now = dict(leaves(yaml.safe_load(dump(cfg))))
        differing |= {
            name: (before.get(name), now.get(name))
            for name in before.keys() | now.keys()
            if before.get(name) != now.get(name) and name not in FREE_TO_CHANGE
        }
        if differing:
            name, (old, new) = sorted(differing.items())[0]
            raise InputError(
                f"{self.path}: --resume goes on with the same training: {name} was {old!r} and is {new!r}: start again "
                "with another --output"
            )

    def remove_halves(self) -> None:
        """Files that a killed process had not finished: atomic_path names them .NAME-XXXXXXXX.SUFFIX."""
        for path in self.path.glob(".*-????????.*"):
            path.unlink()
