"""How coarsely stock float32 convolutions round: MXNet 1.9.1, PyTorch with oneDNN and PyTorch without it.

    python benchmarks/conv_rounding_cpu.py --threads 2 --out benchmarks/results/conv_rounding_cpu.json

Errors are the largest against float64, over the largest value, in float32 roundings (2**-23). These kernels are
libraries' own on both sides; the table says by how much their orders of summing differ, which is what `dcn parity`
allows for (docs/state.md). Layers are those of ResNet-101 at 600 x 1000 and of the narrow networks.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

QUANTITIES = ("output", "d data", "d weight")
ROUNDING = 2.0**-23


class Layer(NamedTuple):
    """A convolution without bias on [1, channels, height, width]."""

    name: str
    channels: int
    height: int
    width: int
    filters: int
    kernel: int
    stride: int
    pad: int


LAYERS = (
    Layer("res4a_branch1", 512, 75, 125, 1024, 1, 2, 0),
    Layer("res3a_branch1", 256, 150, 250, 512, 1, 2, 0),
    Layer("res4b1_branch2b", 256, 38, 63, 256, 3, 1, 1),
    Layer("res4b1_branch2a", 1024, 38, 63, 256, 1, 1, 0),
    Layer("narrow res5a_branch2c", 64, 12, 16, 256, 1, 1, 0),
    Layer("narrow rpn_cls_score", 32, 12, 16, 6, 1, 1, 0),
    Layer("narrow res2a_branch2b", 8, 48, 64, 8, 3, 1, 1),
)


def arrays_of(layer: Layer, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data as after a ReLU, weights of output variance 1, head gradient N(0, 1); float32."""
    rng = np.random.default_rng(seed)
    size = layer.channels * layer.kernel**2
    data = np.maximum(rng.standard_normal((1, layer.channels, layer.height, layer.width)), 0)
    weight = rng.standard_normal((layer.filters, layer.channels, layer.kernel, layer.kernel)) * (2 / size) ** 0.5
    out = [(side + 2 * layer.pad - layer.kernel) // layer.stride + 1 for side in (layer.height, layer.width)]
    head = rng.standard_normal((1, layer.filters, *out))
    return data.astype(np.float32), weight.astype(np.float32), head.astype(np.float32)


def by_torch(layer: Layer, arrays, dtype: str, *, onednn: bool = True) -> list[np.ndarray]:
    import torch

    data, weight, head = (torch.tensor(each, dtype=getattr(torch, dtype)) for each in arrays)
    enabled, torch.backends.mkldnn.enabled = torch.backends.mkldnn.enabled, onednn
    try:
        output = torch.nn.functional.conv2d(
            data.requires_grad_(), weight.requires_grad_(), None, layer.stride, layer.pad
        )
        return [each.detach().numpy() for each in (output, *torch.autograd.grad(output, (data, weight), head))]
    finally:
        torch.backends.mkldnn.enabled = enabled


def by_mxnet(layer: Layer, arrays) -> list[np.ndarray]:
    import mxnet as mx

    data, weight, head = (mx.nd.array(each) for each in arrays)
    data.attach_grad()
    weight.attach_grad()
    with mx.autograd.record():
        output = mx.nd.Convolution(
            data, weight, no_bias=True, num_filter=layer.filters, kernel=(layer.kernel,) * 2,
            stride=(layer.stride,) * 2, pad=(layer.pad,) * 2,
        )  # fmt: skip
    output.backward(head)
    return [each.asnumpy() for each in (output, data.grad, weight.grad)]


def rows_of(layer: Layer, seeds: int) -> list[dict]:
    """One row per quantity: median over seeds of each library's error, in roundings of the largest value."""
    runs = {"mxnet": by_mxnet, "onednn": lambda *given: by_torch(*given, "float32"),
            "aten": lambda *given: by_torch(*given, "float32", onednn=False)}  # fmt: skip
    errors: dict[tuple[str, str], list[float]] = {}
    for seed in range(seeds):
        arrays = arrays_of(layer, seed)
        truth = by_torch(layer, arrays, "float64")
        for name, run in runs.items():
            for quantity, got, wanted in zip(QUANTITIES, run(layer, arrays), truth, strict=True):
                error = np.abs(got - wanted).max() / np.abs(wanted).max() / ROUNDING
                errors.setdefault((quantity, name), []).append(float(error))
    return [
        {"layer": layer.name, "quantity": quantity, **{name: float(np.median(errors[quantity, name])) for name in runs}}
        for quantity in QUANTITIES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("MXNET_SUBGRAPH_BACKEND", "NONE")
    import mxnet
    import torch

    from dcn_tasks.files import atomic_path

    torch.set_num_threads(args.threads)
    rows = [row for layer in LAYERS for row in rows_of(layer, args.seeds)]
    print(f"{'layer':24s} {'quantity':10s} {'MXNet':>8s} {'PyTorch, oneDNN':>16s} {'without':>8s}   (roundings)")
    for row in rows:
        print(f"{row['layer']:24s} {row['quantity']:10s} {row['mxnet']:8.1f} {row['onednn']:16.1f} {row['aten']:8.1f}")
    if args.out:
        environment = {
            "threads": args.threads,
            "seeds": args.seeds,
            "torch": torch.__version__,
            "mxnet": mxnet.__version__,
        }
        with atomic_path(args.out) as path:
            path.write_text(json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
