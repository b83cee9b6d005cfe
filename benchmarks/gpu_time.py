"""Times the operators on a GPU beside their peers: python benchmarks/gpu_time.py --out DIR

Median of CUDA-event times over rotating inputs, after warm-up. Beside our convolution stand cuDNN's dense convolution of
the same shape, type and memory format, a matrix product of its size (the multiplication without the gather), our
reference kernel, and torchvision's operator where it is installed. Writes gpu-<device>.json and gpu-<device>.md, the
latter with a verdict on every goal.

`--dry-run` goes through the same rows on the CPU with small shapes, this project's own operator in torchvision's place, and
writes gpu-dry-run.json and .md: it shows that every line runs, and times nothing that anyone should read.
"""

import argparse
import json
import re
import statistics
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from gpu_calls import (
    CONVOLUTIONS,
    PRECISIONS,
    ROTATED,
    Call,
    ConvolutionCalls,
    PoolingCalls,
    set_tf32,
    torchvision_operator,
)
from gpu_report import driver_version, goals, markdown

DRY = "--dry-run" in sys.argv[1:]
DEVICE = "cpu" if DRY else "cuda"


def median_ms(call: Call, repeats: int = 15) -> float:
    """Of single calls; call(i) works on the i-th of the rotating inputs."""
    for i in range(ROTATED if DRY else 4):
        begin = time.perf_counter()
        call(i % ROTATED)
    if DRY:
        return 1e3 * (time.perf_counter() - begin)
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


@contextmanager
def plain_kernels() -> Iterator[None]:
    if DRY:  # the CPU has but one set of kernels
        yield
        return
    before = torch.ops.dcn.set_cuda_fused(False)
    try:
        yield
    finally:
        torch.ops.dcn.set_cuda_fused(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def extra_memory(call: Callable[[], object]) -> int:
    """Bytes at the peak of a call, beyond what stood before it and what it returns."""
    call()
    if DRY:
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = call()
    returned = torch.cuda.memory_allocated() - before
    del kept
    return torch.cuda.max_memory_allocated() - before - returned


def convolution_rows(shape, precision: str, theirs: Callable | None) -> Iterator[dict]:
    dtype, tf32 = PRECISIONS[precision]
    set_tf32(tf32)
    calls = ConvolutionCalls(shape, dtype, DEVICE)
    ours, dense = ("input", "offset", "weight"), ("input", "weight")

    def row(what: str, which: str, ms: float) -> dict:
        return {"shape": shape.name, "precision": precision, "pass": which, "what": what, "ms": ms}

    with torch.no_grad():
        yield row("dense conv2d (cuDNN)", "forward", median_ms(calls.dense))
        yield row("matrix product only", "forward", median_ms(calls.products_only()))
        yield row("deform_conv2d", "forward", median_ms(calls.ours))
        if shape.images == 1:  # it takes long
            with plain_kernels():
                yield row("reference kernel", "forward", median_ms(calls.ours, repeats=3))
        bytes_ = extra_memory(lambda: calls.ours(0))
        one = calls.sets[0]
        in_and_out = sum(one[name].numel() * one[name].element_size() for name in ("input", "head"))
        yield {**row("deform_conv2d, extra memory", "forward", 0.0), "share": bytes_ / in_and_out}
    yield row("dense conv2d (cuDNN)", "backward", median_ms(calls.backward(calls.dense, dense)))
    yield row("deform_conv2d", "backward", median_ms(calls.backward(calls.ours, ours)))
    with deterministic():
        yield row("deform_conv2d, deterministic", "backward", median_ms(calls.backward(calls.ours, ours), repeats=5))
    if theirs is None:
        return
    # torchvision has no bfloat16: it is timed in float16 there, which is as fast for it; and on contiguous tensors.
    del calls
    low = torch.float16 if dtype == torch.bfloat16 else dtype
    calls = ConvolutionCalls(shape, low, DEVICE, last=False)
    call = calls.torchvision(theirs)
    with torch.no_grad():
        yield row("torchvision deform_conv2d", "forward", median_ms(call, repeats=7))
    yield row("torchvision deform_conv2d", "backward", median_ms(calls.backward(call, ours), repeats=5))


def pooling_rows() -> Iterator[dict]:
    for classes in (21, 81):
        calls = PoolingCalls(classes, DEVICE, rois=4 if DRY else 300)
        for which, call in (("forward", calls.forward), ("forward + backward", calls.both)):
            row = {"shape": f"deform_psroi_pool, 300 RoIs, {classes} classes", "precision": "float32", "pass": which}
            yield {**row, "what": "deform_psroi_pool", "ms": median_ms(call)}
            with plain_kernels():
                yield {**row, "what": "one thread per output", "ms": median_ms(call, repeats=7)}


def test_counts(path: Path | None) -> dict[str, int] | None:
    if path is None or not path.exists():
        return None
    suite = ElementTree.parse(path).getroot().find("testsuite")
    counts = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    counts["passed"] = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return counts


def facts() -> dict[str, str | int | None]:
    """The machine and its software."""
    device = {"device": "dry run", "multiprocessors": 0, "driver": "none"}
    if not DRY:
        multiprocessors = torch.cuda.get_device_properties(0).multi_processor_count
        device = {
            "device": torch.cuda.get_device_name(),
            "multiprocessors": multiprocessors,
            "driver": driver_version(),
        }
    return {**device, "torch": torch.__version__, "cuda": torch.version.cuda, "python": sys.version.split()[0]}


def peer() -> Callable | None:
    if DRY:
        from torch_port.ops.torchvision_compat import deform_conv2d

        return deform_conv2d
    return torchvision_operator()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--tests", type=Path, help="pytest's junit file, to be counted in the report")
    parser.add_argument("--sanitizer", default="not run")
    parser.add_argument("--dry-run", action="store_true", help="small shapes on the CPU, to see that every line runs")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    theirs = peer()
    timed = "median of 15 event-timed calls (3 to 7 for the slow ones)"
    report = {
        **facts(), "command": "bash benchmarks/gpu.sh", "tests": test_counts(args.tests), "sanitizer": args.sanitizer,
        "statistic": "small shapes on a CPU: the times mean nothing" if DRY else timed, "rows": list(pooling_rows()),
    }  # fmt: skip
    for precision in PRECISIONS:
        for full in CONVOLUTIONS:
            shape = full.shrunk() if DRY else full
            print(f"{shape.name} {precision}", file=sys.stderr)
            report["rows"] += convolution_rows(shape, precision, theirs)
            torch.cuda.empty_cache()  # does nothing without a GPU
    report["goals"] = goals(report["rows"])
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / ("gpu-" + re.sub(r"[^a-z0-9]+", "-", report["device"].lower()).strip("-"))
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1))
    stem.with_suffix(".md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
