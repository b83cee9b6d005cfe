"""A training that is killed at random moments and resumed each time, beside one that nobody touches.

python tests/training_runs/kills.py --kills 10 --json FILE      both frameworks, ten kills each
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from dcn_tasks.config import dump, load_config
from weights_convert import load_params, load_weights
from weights_convert.tensors import to_array

REPOSITORY = Path(__file__).resolve().parents[2]
# Batch statistics, OHEM, offsets that move, warm-up and a falling rate within the run; a few hundredths of a second an update.
TINY = {
    "dataset__SCENES": [6, 4],
    "network__UNITS": [1, 1, 1, 1],
    "network__HEAD_WIDTH": 16,
    "network__RPN_WIDTH": 16,
    "SCALES": [96, 128],
    "TRAIN__lr": 0.01,
    "TRAIN__warmup_lr": 0.001,
    "TRAIN__warmup_step": 6,
    "TRAIN__lr_step": "1.5",
    "TRAIN__end_epoch": 3,
    "TRAIN__FLIP": True,
    "default__frequent": 4,
}
LAST = {"torch": "last.safetensors", "mxnet": "last.params"}


@dataclass
class Killed:
    """updates: of the state that each resumed run found, None: none yet. same: whether all arrays end as the same bits."""

    framework: str
    updates: list[int | None] = field(default_factory=list)
    same: bool = False


def write_config(folder: Path, *, network: str = "demo/narrow_rfcn_dcn", **changes) -> Path:
    """A configuration's file: a network that takes hundredths of a second an update, three epochs of twelve updates."""
    path = folder / "tiny.yaml"
    cfg = load_config(network, **{**TINY, **changes})
    path.write_text(dump(cfg), encoding="utf-8")
    return path


def command(config: Path, framework: str, output: Path, *options: str) -> list[str]:
    fixed = ["--framework", framework, "--output", str(output), "--save-every", "3", "--json"]
    return [sys.executable, "-m", "dcn_suite.cli.main", "train", str(config), *fixed, *options]


def environment() -> dict[str, str]:
    """One thread: the order of sums is then the same in every run."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def finish(config: Path, framework: str, output: Path, *options: str) -> None:
    run = subprocess.run(
        command(config, framework, output, *options), env=environment(), capture_output=True, text=True
    )
    if run.returncode:
        raise AssertionError(run.stderr)


def kill_once(config: Path, framework: str, output: Path, seconds: float) -> bool:
    """Starts or resumes, and kills `seconds` after the first update's preparations. Returns: False if it was done before."""
    log = output / "training.log"
    before = log.stat().st_size if log.is_file() else 0
    process = subprocess.Popen(
        command(config, framework, output, "--resume"), env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while process.poll() is None and not (log.is_file() and log.stat().st_size > before):
            time.sleep(0.02)
        time.sleep(seconds)
        if process.poll() is not None:
            return False
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return True


def updates_in(state: Path) -> int | None:
    if not state.is_file():
        return None
    if state.suffix == ".params":
        from dcn_suite.training.in_mxnet import updates_of

        return updates_of(state)
    return int(load_weights(state).metadata["step"])


def torment(framework: str, kills: int, folder: Path, *, seed: int, longest: float = 4.0, **changes) -> Killed:
    """One training undisturbed, one killed `kills` times at moments drawn at random; their final states compared bit by bit.

    A kill that finds the last update saved disturbs nothing: it is not counted, and another training begins.

    Args: longest: seconds from the start of updates within which kills fall.
    """
    config = write_config(folder, **changes)
    calm, tormented = folder / f"{framework}-calm", folder / f"{framework}-killed"
    finish(config, framework, calm)
    last = updates_in(calm / LAST[framework])
    moments, result = random.Random(seed), Killed(framework)
    while True:
        killed = kill_once(config, framework, tormented, moments.uniform(0, longest))
        found = updates_in(tormented / LAST[framework])
        if disturbed := killed and found != last:
            result.updates.append(found)
        enough = len(result.updates) == kills
        if enough or not disturbed:
            if killed:
                finish(config, framework, tormented, "--resume")
            result.same = same_state(calm, tormented, framework)
            if enough or not result.same:
                return result
            shutil.rmtree(tormented)


def same_state(one: Path, other: Path, framework: str) -> bool:
    """Weights, statistics, momentum and number of updates: the same bits."""
    first, second = (contents(folder / LAST[framework]) for folder in (one, other))
    return first.keys() == second.keys() and all(first[name] == second[name] for name in first)


def contents(state: Path) -> dict[str, bytes]:
    """Everything in a state by name; of .safetensors the order in the file is not always the same."""
    if state.suffix == ".params":
        return {name: array.tobytes() for name, array in load_params(state).arg.items()} | {
            name: array.tobytes() for name, array in load_params(state).aux.items()
        }
    file = load_weights(state)
    texts = {f"metadata {name}": text.encode() for name, text in file.metadata.items()}
    return {name: to_array(tensor).tobytes() for name, tensor in file.state.items()} | texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds of updates within which kills fall")
    parser.add_argument("--framework", choices=tuple(LAST), help="this one only; the other's results in FILE stay")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    results = json.loads(args.json.read_text(encoding="utf-8")) if args.json.is_file() and args.framework else {}
    with TemporaryDirectory() as folder:
        for framework in [args.framework] if args.framework else LAST:
            done = asdict(torment(framework, args.kills, Path(folder), seed=args.seed, longest=args.longest))
            facts = {
                "machine": f"{os.cpu_count()} cores, one thread",
                "date": time.strftime("%Y-%m-%d"),
                "seed": args.seed,
            }
            results[framework] = {**done, **facts}
            print(framework, results[framework])
            args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.exit(not all(result["same"] for result in results.values()))


if __name__ == "__main__":
    main()
