"""What a training says while it runs: a bar with losses and remaining time, lines for people, rows for programs, TensorBoard."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path

METRICS, TEXT, SCALARS = "metrics.jsonl", "training.log", "tensorboard"
ROW_FACTS = ("update", "epoch", "lr", "seconds")  # of a row of METRICS, beside the means of its updates


class TrainingBar(Progress):
    """Two lines: what, bar, done of all, elapsed and remaining time; under it the tasks' field `now`."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(str(task.fields["now"]), overflow="fold")


def training_bar(shown: bool) -> TrainingBar:
    """On stderr. Tasks added to it need the field `now`, e.g. the losses."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True, quiet=not shown)
    return TrainingBar(*columns, TimeRemainingColumn(), console=console, disable=not shown)


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric over rows that all have the same ones; nothing of no rows."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]} if rows else {}


class TrainingLog:
    """The log of one training; as a context manager it shows the bar and closes the files.

    Args:
        title: left of the bar. done, last: updates done before, and at the end. epoch_length: updates.
        every: updates between two lines and rows, which hold the means of the metrics since the one before.
        shown: metrics that the bar and the lines show; rows and TensorBoard have all.
        folder: where training.log, metrics.jsonl and tensorboard/ are, or None: the bar alone. Rows beyond `done`, of a
            run that was stopped after them, are dropped first.
        progress: whether there is a bar.
    """

    def __init__(
        self,
        title: str,
        *,
        done: int,
        last: int,
        epoch_length: int,
        every: int,
        shown: Sequence[str],
        folder: Path | None = None,
        progress: bool = True,
    ):
        self.done, self.last, self.epoch_length, self.every, self.shown = done, last, epoch_length, every, shown
        self.folder = folder
        self.rows: list[Mapping[str, float]] = []
        self.display = training_bar(progress)
        self.bar = self.display.add_task(title, total=last, completed=done, now="")
        self.clock = time.monotonic()
        self.scalars = None
        if folder is not None:
            from tensorboardX import SummaryWriter

            forget_after(folder / METRICS, done)
            self.scalars = SummaryWriter(str(folder / SCALARS), purge_step=done + 1)

    def __enter__(self) -> "TrainingLog":
        self.display.start()
        self.say(f"update {self.done} of {self.last}: " + ("going on" if self.done else "begins"))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.say(f"stopped after update {self.done}: {str(error) or type(error).__name__}")
        self.display.stop()
        if self.scalars is not None:
            self.scalars.close()

    def update(self, number: int, lr: float, metrics: Mapping[str, float]) -> None:
        """Note one update; every `every` updates, and at the last, write what was noted since."""
        self.rows.append(metrics)
        self.done = number
        recent = means(self.rows[-self.every :])
        losses = "  ".join(f"{name} {recent[name]:.3f}" for name in self.shown)
        self.display.update(self.bar, completed=number, now=f"{losses}  lr {lr:g}")
        if number % self.every and number != self.last:
            return
        seconds = (time.monotonic() - self.clock) / len(self.rows)
        self.write(number, lr, seconds, means(self.rows))
        self.rows, self.clock = [], time.monotonic()

    def write(self, number: int, lr: float, seconds: float, averages: Mapping[str, float]) -> None:
        left = (self.last - number) * seconds
        losses = "  ".join(f"{name} {averages[name]:.4f}" for name in self.shown)
        epoch = (number - 1) // self.epoch_length + 1
        self.say(
            f"epoch {epoch}  update {number} of {self.last}  {losses}  lr {lr:g}  {seconds:.2f} s an update, {left / 60:.0f} min left"
        )
        if self.folder is None or self.scalars is None:
            return
        row = {"update": number, "epoch": number / self.epoch_length, "lr": lr, "seconds": seconds, **averages}
        with open(self.folder / METRICS, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in {"lr": lr, "seconds per update": seconds, **averages}.items():
            self.scalars.add_scalar(name.replace(" ", "_"), value, number)
        self.scalars.flush()

    def say(self, sentence: str) -> None:
        """A line in training.log, with the time."""
        if self.folder is not None:
            with open(self.folder / TEXT, "a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {sentence}\n")


def forget_after(path: Path, done: int) -> None:
    """Drop rows of updates beyond `done`, and half a row that a killed process left."""
    kept = [row for row in read_rows(path) if row["update"] <= done]
    if path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.jsonl; [] when there is none. A last line without its end is left out.

    Raises: InputError for something else.
    """
    if not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()]
        if not all(isinstance(row, dict) and isinstance(row.get("update"), int) for row in rows):
            raise ValueError("a row without its update")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected rows as `dcn train` writes them, got something else: {error}") from error
    return rows
