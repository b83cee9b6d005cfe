"""RoI operators on the CPU, side by side with MXNet 1.9.1 at the same number of threads.

    python benchmarks/roi_ops_cpu.py --threads 2 --out benchmarks/results/roi_ops_cpu.json

Sizes are those of R-FCN on a 600 x 1000 image: a 38 x 63 map, 300 RoIs, 7 x 7 bins, 21 classes. Both frameworks are
timed in turns within one process; the table shows medians, and the ratio of medians. Without MXNet its columns stay
empty.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

HEIGHT, WIDTH, ROIS, CLASSES, POOLED = 38, 63, 300, 21, 7
IMAGE = (600.0, 1000.0)
ANCHORS = dict(feature_stride=16, scales=(8.0, 16.0, 32.0), ratios=(0.5, 1.0, 2.0))


@dataclass(frozen=True)
class Row:
    """Median milliseconds of one operator in one direction; mxnet None: not run."""

    operator: str
    direction: str
    ours_ms: float
    mxnet_ms: float | None

    @property
    def ratio(self) -> float | None:
        return None if self.mxnet_ms is None else self.mxnet_ms / self.ours_ms


@dataclass(frozen=True)
class Work:
    """One operator on fixed data: functions that run it and wait for the result."""

    operator: str
    ours: dict[str, Callable[[], object]]
    mxnet: dict[str, Callable[[], object]]


def network_rois(seed: int = 0) -> np.ndarray:
    """[300, 5] RoIs of 20 to 500 pixels inside the image."""
    rng = np.random.default_rng(seed)
    x1, y1 = rng.uniform(0, 0.9 * IMAGE[1], ROIS), rng.uniform(0, 0.9 * IMAGE[0], ROIS)
    x2 = np.minimum(x1 + rng.uniform(20, 500, ROIS), IMAGE[1] - 1)
    y2 = np.minimum(y1 + rng.uniform(20, 400, ROIS), IMAGE[0] - 1)
    return np.stack([np.zeros(ROIS), x1, y1, x2, y2], 1).astype(np.float32)


def works(with_mxnet: bool) -> list[Work]:
    """Every operator with its data, for both frameworks."""
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    rois = network_rois()
    common = dict(spatial_scale=0.0625)
    position = dict(common, output_dim=CLASSES, group_size=POOLED, pooled_size=POOLED)
    deform = dict(position, part_size=POOLED, sample_per_part=4, trans_std=0.1)
    scores = normal(1, CLASSES * POOLED**2, HEIGHT, WIDTH)
    pooled = (ROIS, CLASSES, POOLED, POOLED)
    pooling = [
        ("deform_psroi_pool", [scores, rois, normal(ROIS, 2 * CLASSES, POOLED, POOLED)], [0, 2], deform, pooled),
        ("psroi_pool", [scores, rois], [0], position, pooled),
        ("roi_pool", [normal(1, 256, HEIGHT, WIDTH), rois], [0], dict(common, pooled_size=(POOLED, POOLED)),
         (ROIS, 256, POOLED, POOLED)),
    ]  # fmt: skip
    result = []
    for name, arrays, differentiable, arguments, shape in pooling:
        head = normal(*shape)
        ours = our_pooling(name, arrays, differentiable, arguments, head)
        mxnet = mxnet_pooling(name, arrays, differentiable, arguments, head) if with_mxnet else {}
        result.append(Work(name, ours, mxnet))
    anchors = len(ANCHORS["scales"]) * len(ANCHORS["ratios"])
    prob = rng.uniform(0, 1, (1, 2 * anchors, HEIGHT, WIDTH)).astype(np.float32)
    delta = normal(1, 4 * anchors, HEIGHT, WIDTH) * np.float32(0.3)
    return [*result, *proposal_works([prob, delta, np.float32([[*IMAGE, 1.6]])], with_mxnet)]


def our_pooling(name: str, arrays: list, differentiable: list[int], arguments: dict, head: np.ndarray) -> dict:
    import torch

    from torch_port import ops

    tensors = [torch.from_numpy(a) for a in arrays]
    leaves = [tensors[i].requires_grad_() for i in differentiable]
    operator, gradient = getattr(ops, name), torch.from_numpy(head)
    output = operator(*tensors, **arguments)

    def forward() -> object:
        with torch.no_grad():
            return operator(*tensors, **arguments)

    def backward() -> object:
        return torch.autograd.grad(output, leaves, gradient, retain_graph=True)

    return {"forward": forward, "backward": backward}


def mxnet_pooling(name: str, arrays: list, differentiable: list[int], arguments: dict, head: np.ndarray) -> dict:
    import mxnet as mx

    tensors, gradient = [mx.nd.array(a) for a in arrays], mx.nd.array(head)
    for i in differentiable:
        tensors[i].attach_grad()
    operator = {
        "deform_psroi_pool": mx.nd.contrib.DeformablePSROIPooling,
        "psroi_pool": mx.nd.contrib.PSROIPooling,
        "roi_pool": mx.nd.ROIPooling,
    }[name]
    with mx.autograd.record():
        output = operator(*tensors, **arguments)

    def forward() -> object:
        return operator(*tensors, **arguments).wait_to_read()

    def backward() -> object:
        output.backward(gradient, retain_graph=True)
        return mx.nd.waitall()

    return {"forward": forward, "backward": backward}


def proposal_works(arrays: list[np.ndarray], with_mxnet: bool) -> list[Work]:
    import torch

    from torch_port import ops

    tensors = [torch.from_numpy(a) for a in arrays]
    limits = dict(pre_nms_top_n=6000, post_nms_top_n=300, nms_thresh=0.7, min_size=16)

    def ours(variant: str) -> dict:
        return {"forward": lambda: ops.proposal(*tensors, **ANCHORS, **limits, variant=variant)}

    mxnet = {}
    if with_mxnet:
        import mxnet as mx

        inputs = [mx.nd.array(a) for a in arrays]
        theirs = dict(rpn_pre_nms_top_n=6000, rpn_post_nms_top_n=300, threshold=0.7, rpn_min_size=16)
        mxnet = {"forward": lambda: mx.nd.contrib.Proposal(*inputs, **ANCHORS, **theirs).wait_to_read()}
    return [Work("proposal cxx", ours("cxx"), mxnet), Work("proposal python", ours("python"), {})]


def milliseconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - begin)


def measure(work: Work, repeats: int) -> list[Row]:
    """Medians of `repeats` turns, after one that warms up."""
    rows = []
    for direction, ours in work.ours.items():
        theirs = work.mxnet.get(direction)
        ours_ms, mxnet_ms = [], []
        for turn in range(repeats + 1):
            pair = milliseconds(ours), milliseconds(theirs) if theirs else None
            if turn > 0:
                ours_ms.append(pair[0])
                mxnet_ms.append(pair[1])
        theirs_ms = statistics.median(mxnet_ms) if theirs else None
        rows.append(Row(work.operator, direction, statistics.median(ours_ms), theirs_ms))
    return rows


def environment(threads: int, with_mxnet: bool) -> dict:
    import torch

    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    if with_mxnet:
        import mxnet as mx

        versions["mxnet"] = mx.__version__
    load = round(os.getloadavg()[0], 1)  # above the number of threads: others were at work, trust the ratios only
    facts = {"threads": threads, "load": load, "instruction_set": torch.ops.dcn.isa(), "machine": platform.machine()}
    return {**facts, **versions}


def table(rows: list[Row]) -> str:
    lines = ["| operator | direction | ours, ms | MXNet, ms | MXNet / ours |", "|---|---|---|---|---|"]
    for row in rows:
        theirs = ("not run", "–") if row.mxnet_ms is None else (f"{row.mxnet_ms:.1f}", f"{row.ratio:.1f}")
        lines.append(f"| {row.operator} | {row.direction} | {row.ours_ms:.1f} | {theirs[0]} | {theirs[1]} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of both frameworks (default: 1)")
    parser.add_argument("--repeats", type=int, default=7, help="timed turns of each (default: 7)")
    parser.add_argument("--without-mxnet", action="store_true", help="time our side only")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # read by MXNet when it loads

    import torch

    torch.set_num_threads(arguments.threads)
    with_mxnet = not arguments.without_mxnet
    rows = [row for work in works(with_mxnet) for row in measure(work, arguments.repeats)]
    facts = environment(arguments.threads, with_mxnet)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), table(rows), sep="\n\n")
    if arguments.out:
        from dcn_tasks.files import atomic_path

        document = {"environment": facts, "rows": [{**asdict(row), "ratio": row.ratio} for row in rows]}
        with atomic_path(arguments.out) as path:
            path.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
