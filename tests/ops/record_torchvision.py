"""Records torchvision's deform_conv2d for test_torchvision_compat.py: `python tests/ops/record_torchvision.py`.

Needs a torchvision whose operators load; its CPU kernels need no GPU. Float64, forward and all gradients.
"""

import itertools
from pathlib import Path

import numpy as np
import torch
from deform_conv_cases import Case

from dcn_tasks.recording import RecordingWriter

FOLDER = Path(__file__).resolve().parent / "recordings" / "torchvision"
NAMES = ("input", "offset", "mask", "weight", "bias")
RECORDED = {
    "edges": Case("edges", batch=2, channels=4, out_channels=3, height=4, width=5),
    "groups": Case(2.0, channels=8, out_channels=6, height=4, width=5, groups=2, offset_groups=2),
    "geometry": Case("edges", channels=4, out_channels=2, height=9, width=7, kernel=(3, 2), stride=(2, 1), padding=(2, 1),
                     dilation=(2, 1), bias=False),
}  # fmt: skip


def run(function, case: Case, masked: bool) -> dict[str, np.ndarray]:
    """{"output", "input": its gradient, ...} of torchvision's deform_conv2d, or one with its signature, in float64."""
    arrays = {name: a if a is None else a.astype(np.float64) for name, a in case.arrays().items()}
    t = {n: None if arrays[n] is None else torch.tensor(arrays[n], requires_grad=True) for n in NAMES}
    mask = t["mask"] if masked else None
    output = function(t["input"], t["offset"], t["weight"], t["bias"], *case.geometry, mask)
    output.backward(torch.tensor(arrays["head"]))
    given = {n: v for n, v in t.items() if v is not None and (masked or n != "mask")}
    return {"output": output.detach().numpy(), **{n: v.grad.numpy() for n, v in given.items()}}


def main() -> None:
    import torchvision

    version = {"torchvision": torchvision.__version__, "torch": torch.__version__}
    writer = RecordingWriter(FOLDER, f"torchvision {torchvision.__version__}", version)
    arrays = {}
    for (name, case), masked in itertools.product(RECORDED.items(), (False, True)):
        results = run(torchvision.ops.deform_conv2d, case, masked)
        arrays |= {f"{name}/{'masked' if masked else 'plain'}/{tensor}": a for tensor, a in results.items()}
    writer.part("deform_conv2d", arrays, compress=True)
    writer.finish()


if __name__ == "__main__":
    main()
