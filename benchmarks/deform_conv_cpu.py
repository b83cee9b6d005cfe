"""Times deform_conv2d on the CPU beside a dense convolution of the same shape, MXNet 1.9.1 and torchvision, in one process.

All take turns, so that whatever else the machine does falls on all of them; reported are medians and their ratios.
    OMP_NUM_THREADS=2 python benchmarks/deform_conv_cpu.py --threads 2 --out benchmarks/results/deform_conv_cpu.json
torchvision is left out, visibly, without --torchvision FOLDER (or DCN_TORCHVISION): a folder with the installed package
and, beside a CPU-only PyTorch, stand-ins for libtorch_cuda.so and libc10_cuda.so.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from deform_conv_cpu_calls import (
    GROWTH,
    OTHER_SHAPES,
    SHAPES,
    Shape,
    forward_only,
    load_torchvision,
    mxnet_calls,
    peak_extra_bytes,
    torch_calls,
    torchvision_calls,
)
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dcn_tasks.files import atomic_path

# (ratio, numerator, denominator, sign, goal on A, goal on B); a numerator or denominator of several: the fastest.
DENSE = ("dense forward", "dense forward channels_last")
RATIOS = [
    ("fp32 forward / dense", ("forward",), DENSE, "<=", 1.2, 1.2),
    ("fp32 backward / dense", ("backward",), ("dense backward",), "<=", 1.2, 1.2),
    ("bf16x3 forward / dense fp32", ("bf16x3 forward",), DENSE, "<=", 0.7, 0.7),
    ("bf16x3 backward / dense fp32", ("bf16x3 backward",), ("dense backward",), "<=", 0.7, 0.7),
    ("bf16 forward / dense bf16", ("bf16 forward",), ("dense bf16 forward",), "<=", 1.7, 2.2),
    ("bf16 backward / dense bf16", ("bf16 backward",), ("dense bf16 backward",), "<=", 1.5, 1.8),
    ("torchvision forward / ours", ("torchvision forward",), ("forward",), ">=", 4, 4),
    ("torchvision backward / ours", ("torchvision backward",), ("backward",), ">=", 12, 12),
    ("MXNet forward / ours", ("MXNet forward",), ("forward",), ">=", 7, 7),
    ("MXNet backward / ours", ("MXNet backward",), ("backward",), ">=", 15, 15),
]
SLOW = ("MXNet", "torchvision")  # timed every third round


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def timings(calls: dict[str, Callable[[], object]], rounds: int, title: str, untimed: int = 0) -> dict[str, float]:
    """Median milliseconds of each call, taken in turns, each right after as many `untimed` ones of its own."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for i in track(range(rounds), title, console=Console(stderr=True)):
        for name, call in calls.items():
            if name.startswith(SLOW) and i % 3:
                continue
            for _ in range(untimed):
                call()
            start = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - start) * 1e3)
    ms = {name: statistics.median(values) for name, values in taken.items()}
    if "MXNet forward" in ms:
        ms["MXNet backward"] = ms["MXNet forward and backward"] - ms["MXNet forward"]
    return ms


def fastest(ms: dict[str, float], names: tuple[str, ...]) -> float | None:
    found = [ms[name] for name in names if name in ms]
    return min(found) if found else None


def row(what: str, measured: float, sign: str = "", goal: float | None = None, unit: str = "") -> dict:
    met = None if goal is None else (measured <= goal if sign == "<=" else measured >= goal)
    return {"what": what, "measured": measured, "unit": unit, "goal": goal, "sign": sign, "met": met}


def ratio_rows(letter: str, ms: dict[str, float]) -> list[dict]:
    rows = []
    for what, above, below, sign, *goals in RATIOS:
        numerator, denominator = fastest(ms, above), fastest(ms, below)
        if numerator is not None and denominator is not None:
            rows.append(row(f"{letter}: {what}", numerator / denominator, sign, goals["AB".index(letter)]))
    return rows


def with_threads(threads: int, function: Callable, *args: object) -> object:
    torch.set_num_threads(threads)
    return function(*args)


def in_fresh_process(threads: int, function: Callable, *args: object) -> Any:
    """`function(*args)` where neither MXNet's memory nor its threads are."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(with_threads, (threads, function, *args))


def memory_row(letter: str, shape: Shape, threads: int) -> dict:
    extra = in_fresh_process(threads, peak_extra_bytes, shape)
    copy = 4 * (shape.batch * shape.channels * shape.height * shape.width
                + shape.outputs * shape.channels * shape.kernel**2)  # fmt: skip
    return row(f"{letter}: peak extra memory, forward", extra / 2**20, "<=", copy / 2**20 + 2 * threads, " MiB")


def growth_rows(rounds: int) -> list[dict]:
    """Each size after the next smaller one, the smallest after the largest; and each as the third call in a row."""
    calls = {str(side): forward_only(shape)["forward"] for side, shape in GROWTH.items()}
    in_turns = timings(calls, rounds, "growth, sizes in turns")
    warm = timings(calls, rounds, "growth, third calls", untimed=2)
    rows = []
    for how, ms in (("sizes in turns", in_turns), ("third call in a row", warm)):
        per_pixel = {side: ms[str(side)] * 1e6 / side**2 for side in GROWTH}
        rows += [
            row(f"growth, {how}: {side}x{side}", ns, unit=" ns per output pixel") for side, ns in per_pixel.items()
        ]
        worst = max(per_pixel.values()) / min(per_pixel.values())
        rows.append(row(f"growth, {how}: slowest / fastest pixel", worst, "<=", 1.3))
    return rows


def other_rows(rounds: int) -> list[dict]:
    rows = []
    for name, shape in OTHER_SHAPES.items():
        ms = timings(forward_only(shape), rounds, name)
        rows.append(row(f"{name}: fp32 forward / dense", ms["forward"] / fastest(ms, DENSE), "<=", 1.5))
        if "bf16x3 forward" in ms:
            rows.append(row(f"{name}: bf16x3 forward / dense", ms["bf16x3 forward"] / fastest(ms, DENSE)))
    return rows


def measure(args: argparse.Namespace) -> dict:
    torch.set_num_threads(args.threads)
    theirs = load_torchvision(args.torchvision) if args.torchvision else None
    results, rows = {}, []
    for name, shape in SHAPES.items():
        letter = name[0]
        if letter not in args.shapes:
            continue
        arrays = shape.arrays()
        calls = torch_calls(shape, arrays)
        if not args.without_mxnet:
            calls |= mxnet_calls(shape, arrays)
        if theirs:
            calls |= torchvision_calls(theirs, shape, arrays)
        results[name] = timings(calls, args.rounds, letter)
        rows += ratio_rows(letter, results[name])
        rows.append(memory_row(letter, shape, args.threads))
    if not args.quick:
        rows += in_fresh_process(args.threads, growth_rows, args.rounds) + other_rows(args.rounds)
    return {
        "command": " ".join(["python", "benchmarks/deform_conv_cpu.py", *args.given]),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE", "not set"),  # of MXNet's OpenBLAS
        "threads": args.threads,
        "rounds": args.rounds,
        "processor": processor(),
        "instruction_set": torch.ops.dcn.isa(),
        "amx": torch.ops.dcn.has_amx(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "mxnet": None if args.without_mxnet else importlib.metadata.version("mxnet"),
            "torchvision": sys.modules["torchvision"].__version__ if theirs else "not run: no --torchvision",
        },
        "load_average_before": args.load,
        "median_ms": results,
        "rows": rows,
    }


def show(report: dict) -> bool:
    """Prints the table; whether every goal is met."""
    table = Table("what", "measured", "goal", "verdict")
    for r in report["rows"]:
        goal = "" if r["goal"] is None else f"{r['sign']} {r['goal']:.4g}{r['unit']}"
        verdict = {None: "", True: "holds", False: "MISSED"}[r["met"]]
        table.add_row(r["what"], f"{r['measured']:.2f}{r['unit']}", goal, verdict)
    console = Console(width=110)
    console.print(table)
    if str(report["versions"]["torchvision"]).startswith("not run"):
        console.print("torchvision: not run (give --torchvision FOLDER)")
    console.print(f"load average before: {report['load_average_before']:.2f}")
    return all(r["met"] is not False for r in report["rows"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch; set OMP_NUM_THREADS to the same for MXNet")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shapes", default="AB", help="letters of the shapes to time")
    parser.add_argument("--quick", action="store_true", help="shapes only, without growth and other shapes")
    parser.add_argument("--without-mxnet", action="store_true")
    parser.add_argument("--torchvision", type=Path, default=os.environ.get("DCN_TORCHVISION"), help="its folder")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    args.given = [a for a in sys.argv[1:] if args.torchvision is None or a != str(args.torchvision)]
    args.torchvision = Path(args.torchvision) if args.torchvision else None
    if not args.without_mxnet and os.environ.get("OMP_NUM_THREADS") != str(args.threads):
        parser.error(f"MXNet takes its threads from OMP_NUM_THREADS: set it to {args.threads}")
    args.load = os.getloadavg()[0]
    report = measure(args)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(args.out) as path:
            Path(path).write_text(json.dumps(report, indent=2) + "\n")
    return 0 if show(report) else 1


if __name__ == "__main__":
    sys.exit(main())
