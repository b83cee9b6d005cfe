"""Running rows: every run is stored when it ends, and what is stored is not run again."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from dcn_suite.reproduce.registry import DATA_FOLDER, Row
from dcn_suite.reproduce.results import new_result, result_path, store
from dcn_tasks.errors import InputError
from dcn_tasks.files import claimed

Note = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """What to run, and where. None: all that the row names. data: folder of the data sets. work: of trainings."""

    frameworks: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    columns: tuple[str, ...] | None = None
    data: Path = DATA_FOLDER
    results: Path = Path("results")
    work: Path = Path("output/reproduce")
    image_set: str | None = None
    again: bool = False


@dataclass(frozen=True)
class Run:
    """One piece of work with one result file. column: "" where a run gives all columns. image_set: scored in place of the
    row's own, whose figures then stand beside the row's and are none of them."""

    row: Row
    framework: str
    seed: int
    column: str = ""
    image_set: str = ""

    def path(self, root: Path) -> Path:
        part = self.column or re.sub(r"[^\w.-]", "_", self.image_set)
        return result_path(root, self.row, self.framework, self.seed, part)

    def claim(self, root: Path) -> Path:
        """The lock that keeps two processes from one training: whatever is measured, it is the same, in one folder."""
        return replace(self, row=self.row.training, image_set="").path(root).with_suffix(".lock")

    def work(self, root: Path) -> Path:
        """The folder of its training."""
        row = self.row.training
        return root / row.table / row.name / f"{self.framework}-seed{self.seed}"

    def __str__(self) -> str:
        parts = (self.row.id, self.column or self.image_set, self.framework, f"seed {self.seed}")
        return " ".join(filter(None, parts))


Measure = Callable[[Run, Choice, Note], tuple[dict[str, float], float, dict]]  # -> values, processor seconds, details


def runs_of(row: Row, choice: Choice) -> list[Run]:
    """Raises: InputError for a framework or column that the row has not, and for a row that no command measures yet."""
    if not row.has_command:
        raise InputError(f"{row.id}: nothing measures this row yet; published: {published(row)}")
    frameworks = chosen(choice.frameworks, row.frameworks, f"{row.id}: --framework")
    seeds = row.seeds if choice.seeds is None else choice.seeds
    if choice.image_set and row.runs != "training":
        raise InputError(f"{row.id}: no set of images is scored for this row: leave --image-set out")
    if row.runs != "classification":
        if choice.columns is not None:
            raise InputError(f"{row.id}: one run gives every column: leave --columns out")
        other = choice.image_set if choice.image_set and choice.image_set != row.load().dataset.test_image_set else ""
        return [Run(row, framework, seed, image_set=other) for seed in seeds for framework in frameworks]
    columns = chosen(choice.columns, tuple(row.setting["columns"]), f"{row.id}: --columns")
    return [Run(row, framework, seed, column) for framework in frameworks for seed in seeds for column in columns]


def chosen(wanted: tuple[str, ...] | None, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    if wrong := [name for name in wanted or () if name not in known]:
        raise InputError(f"{what}: expected of {', '.join(known)}, got {wrong[0]!r}")
    return known if wanted is None else wanted


def published(row: Row) -> str:
    return ", ".join(f"{column} {value:g}" for column, value in row.published.items())


def perform(runs: list[Run], choice: Choice, note: Note) -> Iterator[Run]:
    """Does what is not stored yet, one after another; yields every run that it has stored."""
    for run in runs:
        path = run.path(choice.results)
        with claimed(run.claim(choice.results)) as mine:
            if not mine:
                note(f"{run}: another process is at it")
                continue
            if path.is_file() and not choice.again:
                continue
            values, seconds, details = MEASURES[run.row.runs](run, choice, note)
            store(path, new_result(run.row, run.framework, run.seed, values, seconds, details))
            note(f"{run}: {', '.join(f'{value:g}' for value in values.values())} in {seconds:.0f} s of processor time")
            yield run


def timed(measure: Callable[[Run, Choice, Note], tuple[dict[str, float], dict]]) -> Measure:
    """A measure, with the seconds of processor time that it takes."""

    def with_seconds(run: Run, choice: Choice, note: Note) -> tuple[dict[str, float], float, dict]:
        started = time.process_time()
        values, details = measure(run, choice, note)
        return values, time.process_time() - started, details

    return with_seconds


def classification(run: Run, choice: Choice, note: Note) -> tuple[dict[str, float], float, dict]:
    from dcn_suite.reproduce.classification import cell_of, run_cell

    images = images_of(run.row.setting["columns"][run.column]["data"], choice.data)
    accuracy, seconds, details = run_cell(
        cell_of(run.row, run.column, images), images, run.framework, run.seed, str(run)
    )
    return {run.column: accuracy}, seconds, details


@cache
def images_of(data: str, folder: Path):
    from dcn_suite.reproduce.classification import read_images

    return read_images(data, folder)


@timed
def complexity(run: Run, choice: Choice, note: Note) -> tuple[dict[str, float], dict]:
    """Millions of parameters by the paper's rule; details hold every part of both networks."""
    from dcn_suite.complexity.page import as_dict
    from dcn_suite.complexity.rows import VARIANTS, paper_rows
    from dcn_suite.complexity.table import CountedRow, counted

    (row,) = (each for each in paper_rows() if each.id == run.row.id)
    found = CountedRow(row, (counted(row.load(0)), counted(row.load(1))))
    values = {
        f"million parameters, {variant}": round(found.counted(place), 3) for place, variant in enumerate(VARIANTS)
    }
    return values, as_dict(found)


@timed
def training(run: Run, choice: Choice, note: Note) -> tuple[dict[str, float], dict]:
    """Trains by the row's configuration, going on where an earlier try stopped, and scores the last checkpoint."""
    from dcn_suite.reproduce.training import train_and_score

    return train_and_score(
        run.row,
        run.framework,
        run.seed,
        data=choice.data,
        work=run.work(choice.work),
        image_set=run.image_set or None,
        note=note,
    )


@timed
def effective_dilation(run: Run, choice: Choice, note: Note) -> tuple[dict[str, float], dict]:
    """A layer's mean by size of object; the first layer trains and looks at the images, the others find that done."""
    from dcn_suite.reproduce.effective_dilation import measure

    return measure(run.row, run.framework, run.seed, data=choice.data, work=run.work(choice.work), note=note)


@timed
def imagenet(run: Run, choice: Choice, note: Note) -> tuple[dict[str, float], dict]:
    """The error of a backbone's first guess."""
    from dcn_suite.reproduce.imagenet import measure

    return measure(run.row, run.framework, data=choice.data, note=note)


MEASURES: dict[str, Measure] = {
    "classification": classification,
    "complexity": complexity,
    "training": training,
    "effective dilation": effective_dilation,
    "imagenet": imagenet,
}
