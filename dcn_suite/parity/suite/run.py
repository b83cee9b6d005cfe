"""Runs of `dcn parity`, each in a process of its own, so that its memory is given back and can be measured."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from dcn_suite.parity.blas import told_of_avx2
from dcn_suite.parity.suite.plan import PlannedRun
from dcn_suite.parity.suite.results import Results, fingerprint

SHOWN_CHECKS = ("detections", "detections, replayed", "labels", "network")  # what a user sees: kept row by row
KIB_PER_GIB = 1 << 20
KEPT_MEMORY = (
    "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184"
    ":glibc.malloc.hugetlb=1"  # huge pages: fewer faults, each of which a virtual machine pays twice for
)
Started = Callable[[int, PlannedRun], None]


def run_all(
    runs: Iterable[PlannedRun],
    results: Results,
    *,
    fresh: bool = False,
    out: Path | None = None,
    started: Started = lambda place, run: None,
    finished: Callable[[PlannedRun, dict], None] = lambda run, entry: None,
) -> None:
    """Does every run that is not done yet, and writes its entry.

    Args:
        fresh: also those done. out: folder for a report.html of each, under its id; None: none.
        started, finished: told which run is being done, and what came of it.
    """
    for place, run in enumerate(runs):
        if not fresh and results.has(run):
            continue
        started(place, run)
        entry = entry_of(run, out / run.id if out else None)
        results.put(entry)
        finished(run, entry)


def environment() -> dict[str, str]:
    """Variables that make a run faster; those that the user has set stay as they are.

    Two frameworks at work on the same cores have no use for threads that wait by counting. And memory that one array gave back
    serves the next instead of being fetched from the system page by page: thousands of maps come and go.
    """
    wanted = {"OMP_WAIT_POLICY": "passive", "GLIBC_TUNABLES": KEPT_MEMORY, **told_of_avx2()}
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def entry_of(run: PlannedRun, out: Path | None) -> dict:
    """One run in a process of its own; what is kept of it.

    Returns: id, facts, summary and rows of its parity.json; seconds from start to end; peak_gib: the most memory it held,
        files it had mapped included; load: others' share of the machine, before and after; or `error` where it broke off.
    """
    command = [sys.executable, "-m", "dcn_suite.cli.main", *run.arguments, "--json", "--brief"]
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            command + (["--out", str(out)] if out else []), stdout=stdout, stderr=stderr, env=os.environ | environment()
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for: Popen must not wait again
        stdout.seek(0), stderr.seek(0)
        printed, said = stdout.read().decode(), stderr.read().decode(errors="replace")
    entry = {
        "id": run.id,
        "command": " ".join(["dcn", *run.arguments]),
        "environment": environment(),
        "fingerprint": fingerprint(run),
        "wall_s": round(time.monotonic() - began, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gib": round(usage.ru_maxrss / KIB_PER_GIB, 2),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
    }
    if process.returncode not in (0, 1):
        last = said.strip().splitlines()[-1:] or ["nothing"]
        return {**entry, "holds": False, "error": f"exit code {process.returncode}, said: {last[0]}"}
    try:
        return {**entry, **kept(json.loads(printed))}
    except ValueError:
        return {
            **entry,
            "holds": False,
            "error": f"printed no JSON but {printed[:80]!r}; said: {said.strip()[-200:]!r}",
        }


def kept(result: dict) -> dict:
    """Of a parity.json: everything but the many rows that simply hold or are only reported."""
    shown = [
        row
        for row in result.pop("rows")
        if row["verdict"] == "red" or row["check"] in SHOWN_CHECKS or row["measures"].get("by_layer")
    ]
    return {**result, "rows": shown}
