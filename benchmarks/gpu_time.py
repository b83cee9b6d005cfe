"""Times deform_conv2d on a GPU beside a dense convolution of the same shape: python benchmarks/gpu_time.py --out DIR

Median of CUDA-event times over rotating inputs, after warm-up. Beside ours stand the floors of the design: the dense
cuDNN convolution and a matrix product of the convolution's size (the multiplication without the gather). torchvision's
operator joins where it is installed. Writes gpu-<device>.json and gpu-<device>.md.
"""

import argparse
import json
import re
import statistics
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import conv2d

from torch_port.ops import deform_conv2d

SHAPES = {  # N, C, H, W, O, dilation (= padding), offset groups; 3 x 3, stride 1
    "A: 512ch 38x63 dil 2 G 4": (2, 512, 38, 63, 512, 2, 4),
    "B: 256ch 64x64": (2, 256, 64, 64, 256, 1, 1),
    "C: 256ch 128x128": (2, 256, 128, 128, 256, 1, 1),
}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
ROTATED = 3


def median_ms(call: Callable[[int], object], repeats: int = 15) -> float:
    """Of single calls; call(i) works on the i-th of the rotating inputs."""
    for i in range(4):
        call(i % ROTATED)
    torch.cuda.synchronize()
    times = []
    for i in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call(i % ROTATED)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def inputs_of(shape: tuple, dtype: torch.dtype) -> list[dict[str, torch.Tensor]]:
    n, c, h, w, o, _, groups = shape
    made = []
    for _ in range(ROTATED):
        x = torch.randn(n, c, h, w, device="cuda", dtype=dtype).contiguous(memory_format=torch.channels_last)
        weight = 0.02 * torch.randn(o, c, 3, 3, device="cuda", dtype=dtype)
        made.append({
            "x": x.requires_grad_(),
            "offset": (2 * torch.randn(n, 18 * groups, h, w, device="cuda")).to(dtype).requires_grad_(),
            "weight": weight.requires_grad_(),
            "dense_weight": weight.detach().contiguous(memory_format=torch.channels_last).requires_grad_(),
            "head": torch.randn(n, o, h, w, device="cuda", dtype=dtype).contiguous(memory_format=torch.channels_last),
            "rows": torch.randn(n * h * w, 9 * c, device="cuda", dtype=dtype),
        })  # fmt: skip
    return made


def backward(output: torch.Tensor, leaves: list[torch.Tensor], head: torch.Tensor) -> object:
    return torch.autograd.grad(output, leaves, head, retain_graph=True)


def rows_of(name: str, shape: tuple, dtype_name: str) -> list[dict]:
    dtype, o, dilation = DTYPES[dtype_name], shape[4], shape[5]
    made = inputs_of(shape, dtype)
    space = {"padding": dilation, "dilation": dilation}
    calls: dict[str, Callable[[int], object]] = {
        "dense conv2d (cuDNN)": lambda i: conv2d(made[i]["x"], made[i]["dense_weight"], **space),
        "matrix product only": lambda i: made[i]["rows"] @ made[i]["weight"].reshape(o, -1).t(),
        "deform_conv2d": lambda i: deform_conv2d(made[i]["x"], made[i]["offset"], made[i]["weight"], **space),
    }
    try:
        from torchvision.ops import deform_conv2d as theirs

        calls["torchvision deform_conv2d"] = lambda i: theirs(
            made[i]["x"], made[i]["offset"], made[i]["weight"], **space
        )
    except Exception as error:  # a torchvision of another PyTorch fails in many ways; the table says so
        print(f"torchvision: not timed: {error}", file=sys.stderr)
    rows = []
    with torch.no_grad():
        for what, call in calls.items():
            rows.append({"shape": name, "dtype": dtype_name, "pass": "forward", "what": what, "ms": median_ms(call)})
        torch.ops.dcn.set_cuda_fused(False)
        reference = median_ms(calls["deform_conv2d"], repeats=3)
        torch.ops.dcn.set_cuda_fused(True)
        rows.append(
            {"shape": name, "dtype": dtype_name, "pass": "forward", "what": "reference kernel", "ms": reference}
        )
    if name.startswith("C"):
        return rows  # forward only: backward still has only its reference kernel
    for what in ("dense conv2d (cuDNN)", "deform_conv2d"):
        weight = "dense_weight" if what.startswith("dense") else "weight"
        leaves = ["x", weight] if what.startswith("dense") else ["x", "offset", weight]
        graphs = [calls[what](i) for i in range(ROTATED)]
        ms = median_ms(
            lambda i, g=graphs, n=leaves: backward(g[i], [made[i][k] for k in n], made[i]["head"]), repeats=3
        )
        rows.append({"shape": name, "dtype": dtype_name, "pass": "backward", "what": what, "ms": ms})
    return rows


def test_counts(path: Path | None) -> dict[str, int] | None:
    if path is None or not path.exists():
        return None
    suite = ElementTree.parse(path).getroot().find("testsuite")
    return None if suite is None else {k: int(suite.get(k, 0)) for k in ("tests", "failures", "errors", "skipped")}


def markdown(report: dict) -> str:
    lines = [f"# {report['device']}", "", f"`{report['command']}`, PyTorch {report['torch']}, CUDA {report['cuda']}, "
             f"driver {report['driver']}. Tests: {report['tests']}. compute-sanitizer: {report['sanitizer']}.", "",
             "| shape | dtype | pass | what | ms | × dense |", "|---|---|---|---|---|---|"]  # fmt: skip
    for r in report["rows"]:
        dense = next(d["ms"] for d in report["rows"] if d["what"].startswith("dense")
                     and (d["shape"], d["dtype"], d["pass"]) == (r["shape"], r["dtype"], r["pass"]))  # fmt: skip
        ratio = r["ms"] / dense
        lines.append(f"| {r['shape']} | {r['dtype']} | {r['pass']} | {r['what']} | {r['ms']:.3f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def driver_version() -> str:
    import subprocess

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[0].strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--tests", type=Path, help="pytest's junit file, to be counted in the report")
    parser.add_argument("--sanitizer", default="not run")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, in the dense convolution too
    device = torch.cuda.get_device_name()
    report = {
        "device": device, "multiprocessors": torch.cuda.get_device_properties(0).multi_processor_count,
        "torch": torch.__version__, "cuda": torch.version.cuda, "driver": driver_version(),
        "python": sys.version.split()[0], "command": "bash benchmarks/gpu.sh", "tests": test_counts(args.tests),
        "sanitizer": args.sanitizer, "statistic": "median of 15 event-timed calls (3 for backward and reference)",
        "rows": [],
    }  # fmt: skip
    for dtype in DTYPES:
        for name, shape in SHAPES.items():
            print(f"{name} {dtype}", file=sys.stderr)
            report["rows"] += rows_of(name, shape, dtype)
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / ("gpu-" + re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-"))
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1))
    stem.with_suffix(".md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
