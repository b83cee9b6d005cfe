"""Measured figures as JSON, one file for each run of a row: what, where, when, with what."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from dcn_suite.reproduce.registry import Row
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from dcn_tasks.json_values import fits, is_number

IN_PLACE_OF = "in_place_of"  # of details: the row's own image set, where another one was scored
REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = {  # of a stored result's fields
    "row": str, "framework": str, "seed": int, "values": dict, "date": str, "commit": str, "machine": dict, "versions": dict,
    "seconds": float, "details": dict,
}  # fmt: skip
MAX_LEVELS = 32  # of lists and dictionaries in one another
MACHINE = ("processor", "cores", "threads")  # what the page names


@dataclass(frozen=True)
class Result:
    """Figures of one run.

    Args:
        row: TABLE/ROW. framework: "torch" or "mxnet". seed: of the run. values: by column of the table.
        date: UTC, to the second. commit: of the code, "+" where it was changed since. machine, versions: what it ran on.
        seconds: of processor time. details: what else is worth keeping.
    """

    row: str
    framework: str
    seed: int
    values: dict[str, float]
    date: str
    commit: str
    machine: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_the_rows(self) -> bool:
        """Whether it was scored on the images that the published figure is of."""
        return IN_PLACE_OF not in self.details


def result_path(root: Path, row: Row, framework: str, seed: int, part: str = "") -> Path:
    """experiments/results/TABLE/ROW/FRAMEWORK-seedN.json, with a part where a run measures a single column, or other images."""
    return root / row.table / row.name / "-".join(filter(None, (framework, part, f"seed{seed}.json")))


def new_result(
    row: Row, framework: str, seed: int, values: Mapping[str, float], seconds: float, details: dict
) -> Result:
    """A result of now and here. Raises: InputError for a figure that is not finite or no figure of the table."""
    wrong = [name for name, value in values.items() if name not in row.columns or not math.isfinite(value)]
    if wrong:
        raise InputError(f"{row.id}: expected finite figures of {', '.join(row.columns)}, got {wrong[0]}")
    date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Result(
        row.id, framework, seed, dict(values), date, commit(), machine(), versions(framework), round(seconds, 1), details
    )  # fmt: skip


def store(path: Path, result: Result) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(result), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path) -> Result:
    """Raises: InputError when it is none of ours."""
    try:
        result = Result(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: expected a stored result, got: {error}") from error
    if fault := fault_of(result):
        raise InputError(f"{path}: expected a stored result, got one whose {fault}: run the row again")
    return result


def fault_of(result: Result) -> str:
    """Which field is of another kind than a stored result's, in words; "" where none is."""
    for name, kind in KINDS.items():
        value = getattr(result, name)
        if not (is_number(value) if kind is float else type(value) is kind):
            return f"`{name}` is no {'finite number' if kind is float else kind.__name__}"
    spread, curve = result.details.get("spread", {}), result.details.get("curve", {"update": [], "loss": []})
    if not numbers(result.values) or not numbers(spread):
        return "`values`, or `spread` of its `details`, are no finite numbers"
    if any(name not in result.machine for name in MACHINE):
        return f"`machine` lacks one of {', '.join(MACHINE)}"
    if not (isinstance(curve, dict) and all(isinstance(curve.get(name), list) for name in ("update", "loss"))):
        return "`details` have a `curve` without lists of `update` and `loss`"
    if len(curve["update"]) != len(curve["loss"]) or not all(map(is_number, curve["update"] + curve["loss"])):
        return "`details` have a `curve` that is not one finite `loss` for each `update`"
    if not fits(vars(result), MAX_LEVELS):
        return f"fields are nested in more than {MAX_LEVELS} levels, or hold a number that is not finite"
    named = {name for name in ("image_set", IN_PLACE_OF) if name in result.details}
    if named == {IN_PLACE_OF} or any(not isinstance(result.details[name], str) for name in named):
        return f"`details` name no `image_set`, or one or its `{IN_PLACE_OF}` is no text"
    return ""


def numbers(values: object) -> bool:
    return isinstance(values, dict) and all(map(is_number, values.values()))


def results_of(root: Path, row: Row) -> list[Result]:
    """Every stored result of a row, in the order of its files' names."""
    return [read(path) for path in sorted((root / row.table / row.name).glob("*.json"))]


@dataclass(frozen=True)
class Spread:
    """Mean over seeds; the deviation that results have themselves, its mean, else the sample standard deviation over seeds."""

    mean: float
    deviation: float | None
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.deviation is None else f"{self.mean:.2f} ± {self.deviation:.2f}"


def summary(results: list[Result]) -> dict[tuple[str, str], Spread]:
    """By (framework, column), of what was scored on the row's own images."""
    found: dict[tuple[str, str], list[float]] = {}
    own: dict[tuple[str, str], list[float]] = {}
    for result in filter(lambda each: each.is_the_rows, results):
        for column, value in result.values.items():
            found.setdefault((result.framework, column), []).append(value)
            spread = result.details.get("spread", {})
            own.setdefault((result.framework, column), []).extend([spread[column]] if column in spread else [])
    return {
        key: Spread(float(np.mean(values)), deviation(values, own[key]), len(values)) for key, values in found.items()
    }


def deviation(values: list[float], own: list[float]) -> float | None:
    """Of seeds, where results have none themselves (`spread` of their details); None of a single seed."""
    if own:
        return float(np.mean(own))
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def commit() -> str:
    """The commit of the checkout, with "+" when code was changed since; outside a checkout the package's version."""
    git = ["git", "-C", str(REPOSITORY)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "--", "*.py", "*.yaml", "*.cpp", "*.h"],
                                 capture_output=True, text=True, check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return f"dcn-port {package_version('dcn-port')}"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory; nothing that names one machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or 0) or "not set",
    }


def versions(framework: str) -> dict[str, str]:
    return {name: package_version(name) for name in ("numpy", "opencv-python-headless", framework)} | {
        "python": platform.python_version()
    }


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
