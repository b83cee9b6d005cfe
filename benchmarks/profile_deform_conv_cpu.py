"""Where the CPU's deform_conv2d spends its time, for the goals that it misses, and what a call costs after another one.

Shares of the processor's time by function come from Linux's `perf`, which has to be installed.
    OMP_NUM_THREADS=2 python benchmarks/profile_deform_conv_cpu.py --out benchmarks/results/deform_conv_cpu_profile.json
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from deform_conv_cpu_calls import GROWTH, OTHER_SHAPES, SHAPES, Shape, forward_only, torch_calls
from rich.console import Console
from rich.table import Table

from dcn_tasks.files import atomic_path

# A phase is the first whose expression a function's name matches.
PHASES = {
    "multiplying": r"multiply",
    "sampling, sums in and out": r"forward_tile|forward<|sample",
    "pass over the corners": r"pass_tile|backward_tile",
    "places and weights of samples": r"locate",
    "turning maps, packing, unpacking": r"transpose|pack|pixel_map|memmove",
    "waiting for the other thread": r"libgomp|barrier",
    "clearing memory": r"memset|clear_page",
}
B = next(shape for name, shape in SHAPES.items() if name[0] == "B")
MISSED: dict[str, tuple[Shape, str]] = {
    "B: bf16x3 backward": (B, "bf16x3 backward"),
    "B: bf16 backward": (B, "bf16 backward"),
    "C 64, 3x3: forward": (OTHER_SHAPES["C 64, 3x3"], "forward"),
    "7x7: forward": (OTHER_SHAPES["7x7"], "forward"),
    "growth 32x32: forward": (GROWTH[32], "forward"),
}


def recorded(call: Callable[[], object], seconds: float, folder: Path) -> str:
    """perf's report on this process while it repeats `call`."""
    data = folder / "perf.data"
    command = ["perf", "record", "-q", "-o", str(data), "-F", "4000", "-p", str(os.getpid())]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as perf:
        time.sleep(0.5)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            call()
        perf.send_signal(signal.SIGINT)
    report = ["perf", "report", "-i", str(data), "--no-children", "--stdio", "--sort", "dso,symbol"]
    return subprocess.run(report, capture_output=True, text=True, check=True).stdout


def shares(report: str) -> dict[str, float]:
    """Phase -> fraction of the samples."""
    found = dict.fromkeys([*PHASES, "everything else"], 0.0)
    for percent, function in re.findall(r"^\s*([\d.]+)%\s+(.*)$", report, re.MULTILINE):
        phase = next((name for name, text in PHASES.items() if re.search(text, function)), "everything else")
        found[phase] += float(percent) / 100
    return {phase: round(share, 3) for phase, share in found.items()}


def after_another(side: int, other: int, rounds: int) -> list[float]:
    """Nanoseconds per output pixel of the first, second and third call on side x side after one on other x other."""
    calls = {s: forward_only(GROWTH[s])["forward"] for s in (side, other)}
    taken: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        calls[other]()
        for times in taken:
            start = time.perf_counter()
            calls[side]()
            times.append((time.perf_counter() - start) * 1e9 / side**2)
    return [round(statistics.median(times)) for times in taken]


def entry_after(other: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds of a call on one pixel, where nothing is computed: right after one on other x other, and again."""
    large = forward_only(GROWTH[other])["forward"]
    calls = forward_only(Shape(1, 1, 1, 1, 1, kernel=1, padding=0))
    found = {}
    for name in ("forward", "dense forward"):
        taken: list[list[float]] = [[], []]
        for _ in range(rounds):
            large()
            for times in taken:
                start = time.perf_counter()
                calls[name]()
                times.append((time.perf_counter() - start) * 1e6)
        found[name] = [round(statistics.median(times)) for times in taken]
    return found


def measure(threads: int, seconds: float, rounds: int) -> dict:
    torch.set_num_threads(threads)
    profiles = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (shape, which) in MISSED.items():
            call = torch_calls(shape, shape.arrays())[which]
            call()
            profiles[name] = shares(recorded(call, seconds, Path(folder)))
    return {
        "command": " ".join(["python", "benchmarks/profile_deform_conv_cpu.py", *sys.argv[1:]]),
        "threads": threads,
        "load_average_before": os.getloadavg()[0],
        "share_of_time": profiles,
        "ns_per_output_pixel_of_first_second_third_call": {
            f"{side}x{side} after 512x512": after_another(side, 512, rounds) for side in GROWTH
        },
        "us_of_first_second_call_on_one_pixel_after_512x512": entry_after(512, rounds),
    }


def show(report: dict) -> None:
    table = Table("share of time", *report["share_of_time"])
    for phase in [*PHASES, "everything else"]:
        table.add_row(phase, *(f"{shares[phase]:.2f}" for shares in report["share_of_time"].values()))
    console = Console(width=130)
    console.print(table)
    console.print_json(data={key: value for key, value in report.items() if "_call" in key})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--seconds", type=float, default=2, help="of each profile")
    parser.add_argument("--rounds", type=int, default=7, help="of the calls after one on 512x512")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    if shutil.which("perf") is None:
        parser.error("needs Linux's perf on the PATH (Debian: apt install linux-perf)")
    report = measure(args.threads, args.seconds, args.rounds)
    if args.out:
        with atomic_path(args.out) as path:
            Path(path).write_text(json.dumps(report, indent=2) + "\n")
    show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
