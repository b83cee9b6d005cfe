"""How fast a large `.params` file is read and written as `.safetensors`, beside a plain copy of it.

    python benchmarks/convert_files.py --megabytes 1024 --folder /tmp --out benchmarks/results/convert_files.json

Every step runs in a process of its own, in turns, after the file has been read once (so the page cache holds it); a
step's time is from its call to the renamed file, flush to the disk included for those that flush. Anonymous memory is
the largest RssAnon of /proc/self/status while the step runs, sampled every 2 ms, over its value before. Rows without
MXNet stay empty where it is not installed.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dcn_suite.cli.convert import sha256
from dcn_tasks.files import atomic_path
from weights_convert import Params, load_params, save_params, save_weights
from weights_convert.safetensors_stream import write_safetensors

LARGEST = 64 << 20  # bytes of the largest array, a fully connected layer of VGG's kind


def write_source(path: Path, megabytes: int) -> None:
    """Float32 arrays of 64 MiB and of 1 to 9 MiB in turns, and names like a network's."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal(LARGEST // 4, dtype=np.float32)
    arrays, total = {}, 0
    while total < megabytes << 20:
        count = LARGEST // 4 if len(arrays) % 16 == 0 else int(rng.integers(1 << 18, 9 << 18))
        count = min(count, ((megabytes << 20) - total + 3) // 4)
        arrays[f"stage{len(arrays)}_conv_weight"] = block[:count]
        total += count * 4
    save_params(path, Params(arrays))


def plain_copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--reflink=never", str(source), str(target)], check=True)


def flushed_copy(source: Path, target: Path) -> None:
    plain_copy(source, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def stream(source: Path, target: Path) -> None:
    """Without flush, hash and reading back: as a plain copy."""
    with open(target, "wb") as file:
        write_safetensors(file, dict(load_params(source).items()), {})


def flushed_stream(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        stream(source, temporary)


def whole(source: Path, target: Path) -> None:
    """What `dcn convert` does with the arrays: hash of the source, write, flush, compare with the disk, rename."""
    save_weights(target, dict(load_params(source).items()), {"source_sha256": sha256(source)})


def read_ours(source: Path, target: Path) -> None:
    """Map, parse, and copy every array, which is what MXNet's reader does."""
    for _, array in load_params(source).items():
        np.array(array)


def read_mxnet(source: Path, target: Path) -> None:
    import mxnet as mx

    mx.nd.load(str(source))
    mx.nd.waitall()


STEPS: dict[str, Callable[[Path, Path], None]] = {
    "plain copy (cp)": plain_copy,
    "read .params, write .safetensors": stream,
    "plain copy, flushed": flushed_copy,
    "read .params, write .safetensors, flushed": flushed_stream,
    "with hash and comparison, flushed": whole,
    "load_params, every array copied": read_ours,
    "mx.nd.load": read_mxnet,
}
GOALS = (
    ("read .params, write .safetensors", "plain copy (cp)", 0.8),
    ("read .params, write .safetensors, flushed", "plain copy, flushed", 0.8),
    ("with hash and comparison, flushed", "plain copy, flushed", 0.45),
    ("load_params, every array copied", "mx.nd.load", 1.0),
)


def anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) << 10
    raise RuntimeError("/proc/self/status has no RssAnon: this needs Linux 4.5 or newer")


def measure(step: str, source: Path, target: Path) -> dict[str, float]:
    """Seconds and growth of anonymous memory of one step, in this process."""
    if step == "mx.nd.load":
        import mxnet  # noqa: F401, its import is not what is timed
    before, peak, done = anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    STEPS[step](source, target)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    target.unlink(missing_ok=True)
    return {"seconds": seconds, "anonymous_growth": max(peak[0] - before, 0)}


def measured_apart(step: str, source: Path, target: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--step", step, "--folder", str(source.parent)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(folder: Path, megabytes: int, rounds: int) -> dict[str, object]:
    source, target = folder / "source.params", folder / "target"
    write_source(source, megabytes)
    steps = [step for step in STEPS if step != "mx.nd.load" or importlib.util.find_spec("mxnet")]
    seen: dict[str, list[dict[str, float]]] = {step: [] for step in steps}
    for _ in range(rounds):
        for step in steps:
            seen[step].append(measured_apart(step, source, target))
    seconds = {step: statistics.median(one["seconds"] for one in each) for step, each in seen.items()}
    return {
        "command": f"python benchmarks/convert_files.py --megabytes {megabytes} --rounds {rounds}",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "bytes": source.stat().st_size,
        "largest_array": LARGEST,
        "seconds": seconds,
        "anonymous_growth": {step: max(one["anonymous_growth"] for one in each) for step, each in seen.items()},
        "speed_ratio": [
            {"step": step, "beside": beside, "ratio": seconds[beside] / seconds[step], "goal": goal}
            for step, beside, goal in GOALS
            if beside in seconds
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="where to write; needs three times the size (default: a temporary one)"
    )
    parser.add_argument("--out", type=Path, help="JSON of the result")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(measure(args.step, args.folder / "source.params", args.folder / "target")))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        result = compare(Path(folder), args.megabytes, args.rounds)
    for step, seconds in result["seconds"].items():
        growth = result["anonymous_growth"][step] / 2**20
        print(f"{step:45} {seconds:7.3f} s  {result['bytes'] / seconds / 1e9:6.2f} GB/s  +{growth:7.1f} MiB anonymous")
    for row in result["speed_ratio"]:
        print(f"{row['step']} / {row['beside']}: {row['ratio']:.2f} of its speed (goal {row['goal']})")
    if args.out:
        with atomic_path(args.out) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
