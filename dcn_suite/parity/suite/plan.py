"""What `dcn parity all` runs: experiments/parity.yaml."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import yaml

from dcn_suite.complexity.rows import experiments_root
from dcn_tasks.errors import InputError


@dataclass(frozen=True)
class PlannedRun:
    """One row of the table: a network at one size.

    id: of the network, "@" and the size. network, variant, backbone, note: as shown. config: a name under configs/.
    size: HEIGHTxWIDTH, pixels. grad: gradients too. float64: False: see Settings.float64. seed: of weights, boxes, draws.
    """

    id: str
    network: str
    variant: str
    backbone: str
    config: str
    size: str
    grad: bool
    float64: bool = True
    seed: int = 0
    note: str = ""

    @property
    def arguments(self) -> list[str]:
        """Of the `dcn parity` that does it."""
        options = ["--grad"] * self.grad + ["--float32"] * (not self.float64)
        return ["parity", self.config, "--size", self.size, "--seed", str(self.seed), *options]

    @property
    def compared(self) -> str:
        """What is compared, for a cell of the table."""
        return "forward, gradients" if self.grad else "forward" if self.float64 else "forward, float32 end to end"


@cache
def planned_runs() -> tuple[PlannedRun, ...]:
    """Every run, in the order of the table."""
    content = yaml.safe_load((experiments_root() / "parity.yaml").read_text(encoding="utf-8"))
    runs = []
    for row in content["rows"]:
        shared = {name: value for name, value in row.items() if name not in ("id", "runs")}
        runs += [PlannedRun(f"{row['id']}@{run['size']}", **shared, **run) for run in row["runs"]]
    return tuple(runs)


def chosen_runs(words: Sequence[str]) -> list[PlannedRun]:
    """The runs whose id is one of the words or starts with one and "@"; all without words.

    Raises: InputError for a word that names none.
    """
    runs = planned_runs()
    names = {name for run in runs for name in (run.id, run.id.partition("@")[0])}
    if unknown := [word for word in words if word not in names]:
        known = ", ".join(dict.fromkeys(run.id.partition("@")[0] for run in runs))
        raise InputError(f"parity all --only: expected ids of {known} (or one with @SIZE), got {', '.join(unknown)}")
    return [run for run in runs if not words or {run.id, run.id.partition("@")[0]} & set(words)]
