"""Times deform_conv2d on the CPU beside a dense convolution of the same shape and MXNet 1.9.1, in one process.

The three take turns, so that whatever else the machine does falls on all of them; reported are medians and ratios.
    OMP_NUM_THREADS=2 python benchmarks/deform_conv_cpu.py --threads 2 --out benchmarks/results/deform_conv_cpu.json
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dcn_tasks.files import atomic_path
from torch_port.ops import deform_conv2d


@dataclass(frozen=True)
class Shape:
    """x[batch, channels, height, width], 3x3, `channels` outputs; offsets N(0, 2^2) px."""

    batch: int
    channels: int
    height: int
    width: int
    dilation: int  # and padding
    offset_groups: int


SHAPES = {
    "A: x[1,512,38,63] 512->512 dil 2, 4 offset groups": Shape(1, 512, 38, 63, 2, 4),
    "B: x[2,256,64,64] 256->256, 1 offset group": Shape(2, 256, 64, 64, 1, 1),
}
TARGETS = {  # what design and tests ask for on shape A
    "forward / dense": ("<=", 2.0),
    "MXNet forward / ours": (">=", 3.0),
    "MXNet backward / ours": (">=", 4.0),
}


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def torch_calls(s: Shape, arrays: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    t = {name: torch.from_numpy(value).requires_grad_(name != "head") for name, value in arrays.items()}
    geometry = (1, s.dilation, s.dilation)

    def dense() -> torch.Tensor:
        return torch.nn.functional.conv2d(t["input"], t["weight"], None, *geometry)

    def ours() -> torch.Tensor:
        return deform_conv2d(t["input"], t["offset"], t["weight"], None, *geometry)

    dense_output, our_output = dense(), ours()
    last = t["input"].detach().contiguous(memory_format=torch.channels_last)
    last_weight = t["weight"].detach().contiguous(memory_format=torch.channels_last)
    return {
        "dense forward": torch.no_grad()(dense),
        "dense forward channels_last": lambda: torch.nn.functional.conv2d(last, last_weight, None, *geometry),
        "forward": torch.no_grad()(ours),
        "dense backward": lambda: torch.autograd.grad(
            dense_output, (t["input"], t["weight"]), t["head"], retain_graph=True
        ),
        "backward": lambda: torch.autograd.grad(
            our_output, (t["input"], t["offset"], t["weight"]), t["head"], retain_graph=True
        ),
    }


def mxnet_calls(s: Shape, arrays: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    """Forward, and forward with backward: MXNet frees the graph after each backward pass."""
    import mxnet as mx

    given = [mx.nd.array(arrays[name]) for name in ("input", "offset", "weight")]
    head = mx.nd.array(arrays["head"])
    pair = (s.dilation, s.dilation)
    parameters = dict(
        kernel=(3, 3), pad=pair, dilate=pair, num_filter=s.channels, num_deformable_group=s.offset_groups, no_bias=True
    )

    def forward() -> None:
        mx.nd.contrib.DeformableConvolution(*given, **parameters).wait_to_read()

    def forward_and_backward() -> None:
        for value in given:
            value.attach_grad()
        with mx.autograd.record():
            output = mx.nd.contrib.DeformableConvolution(*given, **parameters)
        output.backward(head)
        mx.nd.waitall()

    return {"MXNet forward": forward, "MXNet forward and backward": forward_and_backward}


def timings(calls: dict[str, Callable[[], object]], rounds: int, title: str) -> dict[str, float]:
    """Median milliseconds of each call, taken in turns; MXNet's only every third round, as it is slow."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for i in track(range(rounds), title, console=Console(stderr=True)):
        for name, call in calls.items():
            if name.startswith("MXNet") and i % 3:
                continue
            start = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in taken.items()}


def with_ratios(ms: dict[str, float]) -> dict[str, float]:
    dense = min(ms["dense forward"], ms["dense forward channels_last"])
    ratios = {"forward / dense": ms["forward"] / dense, "backward / dense": ms["backward"] / ms["dense backward"]}
    if "MXNet forward" in ms:
        backward = ms["MXNet forward and backward"] - ms["MXNet forward"]
        ratios["MXNet forward / ours"] = ms["MXNet forward"] / ms["forward"]
        ratios["MXNet backward / ours"] = backward / ms["backward"]
    return ratios


def measure(args: argparse.Namespace) -> dict:
    torch.set_num_threads(args.threads)
    shapes = {name: shape for name, shape in SHAPES.items() if name[0] in args.shapes}
    results = {}
    for name, s in shapes.items():
        rng = np.random.default_rng(0)
        arrays = {
            "input": rng.standard_normal((s.batch, s.channels, s.height, s.width)),
            "offset": rng.standard_normal((s.batch, 18 * s.offset_groups, s.height, s.width)) * 2,
            "weight": rng.standard_normal((s.channels, s.channels, 3, 3)) / np.sqrt(9 * s.channels),
            "head": rng.standard_normal((s.batch, s.channels, s.height, s.width)),
        }
        arrays = {key: value.astype(np.float32) for key, value in arrays.items()}
        calls = torch_calls(s, arrays)
        if not args.without_mxnet:
            calls |= mxnet_calls(s, arrays)
        ms = timings(calls, args.rounds, name[0])
        results[name] = {"median_ms": ms, "ratios": with_ratios(ms)}
    return {
        "command": " ".join(["python", *sys.argv]),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "threads": args.threads,
        "rounds": args.rounds,
        "processor": processor(),
        "instruction_set": torch.ops.dcn.isa(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "mxnet": None if args.without_mxnet else importlib.metadata.version("mxnet"),
        },
        "load_average_before": args.load,
        "results": results,
    }


def show(report: dict) -> bool:
    """Prints the table; whether every target on shape A holds."""
    table = Table("shape", "what", "measured", "target", "verdict")
    holds = True
    for name, result in report["results"].items():
        for what, ms in result["median_ms"].items():
            table.add_row(name[0], what, f"{ms:.1f} ms", "", "")
        for what, ratio in result["ratios"].items():
            sign, target = TARGETS.get(what, ("", 0.0)) if name.startswith("A") else ("", 0.0)
            met = ratio <= target if sign == "<=" else ratio >= target
            holds &= met
            table.add_row(
                name[0],
                what,
                f"{ratio:.2f}",
                f"{sign} {target}" if sign else "",
                ("holds" if met else "MISSED") if sign else "",
            )
    Console(width=110).print(table)
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch; set OMP_NUM_THREADS to the same for MXNet")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shapes", default="AB", help="letters of the shapes to time")
    parser.add_argument("--without-mxnet", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
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
