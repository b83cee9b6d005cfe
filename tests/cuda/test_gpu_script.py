"""benchmarks/gpu.sh runs to its end: its first GPU may be somebody else's, and must not meet a slip there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*command: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([*command], cwd=REPOSITORY, env=environment, capture_output=True, text=True)


def assert_whole(report: dict) -> None:
    """Every row and every goal of the H200 table is there."""
    rows = {(r["shape"][:2], r["precision"], r["pass"], r["what"]) for r in report["rows"]}
    for precision in ("bfloat16", "tf32", "float32"):
        for shape in ("A:", "C:", "A1"):
            for which in ("forward", "backward"):
                for what in ("dense conv2d (cuDNN)", "deform_conv2d", "torchvision deform_conv2d"):
                    assert (shape, precision, which, what) in rows
    names = {goal["goal"] for goal in report["goals"] if goal["found"] is not None}
    for start in ("A, bfloat16", "A, tf32", "C, bfloat16", "C, tf32"):
        for rest in ("forward / dense", "forward + backward / dense", "torchvision / ours, forward",
                     "torchvision / ours, backward", "extra memory / (input + output)"):  # fmt: skip
            assert f"{start}: {rest}" in names
    assert sum("deform_psroi_pool, 300 RoIs" in name for name in names) == 2


def test_every_timing_runs_and_every_goal_gets_a_verdict(tmp_path: Path):
    done = run(sys.executable, "benchmarks/gpu_time.py", "--dry-run", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert_whole(json.loads((tmp_path / "gpu-dry-run.json").read_text()))
    assert "the times mean nothing" in (tmp_path / "gpu-dry-run.md").read_text()


def test_every_call_that_compute_sanitizer_watches_runs():
    done = run(sys.executable, "benchmarks/gpu_sanitize.py", "cpu")
    assert done.returncode == 0 and "every kernel ran" in done.stdout, done.stderr[-2000:]


@pytest.mark.slow  # builds, tests and times: minutes
def test_the_script_runs_from_the_first_line_to_the_last(tmp_path: Path):
    done = run("bash", "benchmarks/gpu.sh", "--dry-run", str(tmp_path))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads((tmp_path / "gpu-dry-run.json").read_text())
    assert_whole(report)
    assert report["tests"]["passed"] > 100 and report["tests"]["failures"] == report["tests"]["errors"] == 0
