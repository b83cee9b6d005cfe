"""What deform_conv_cpu.py times: shapes, and one call per competitor."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from torch_port.ops import deform_conv2d, set_cpu_precision

Call = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """x[batch, channels, height, width], `outputs` channels out; offsets N(0, 2^2) px."""

    batch: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    offset_groups: int = 1

    @property
    def out_size(self) -> tuple[int, int]:
        reach = self.dilation * (self.kernel - 1) + 1
        return tuple((size + 2 * self.padding - reach) // self.stride + 1 for size in (self.height, self.width))

    @property
    def geometry(self) -> tuple[int, int, int]:
        return self.stride, self.padding, self.dilation

    def arrays(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        taps = self.kernel**2
        arrays = {
            "input": rng.standard_normal((self.batch, self.channels, self.height, self.width)),
            "offset": rng.standard_normal((self.batch, 2 * taps * self.offset_groups, *self.out_size)) * 2,
            "weight": rng.standard_normal((self.outputs, self.channels, self.kernel, self.kernel))
            / np.sqrt(taps * self.channels),
            "head": rng.standard_normal((self.batch, self.outputs, *self.out_size)),
        }
        return {name: value.astype(np.float32) for name, value in arrays.items()}


SHAPES = {
    "A: x[1,512,38,63] 512->512 dil 2, 4 offset groups": Shape(1, 512, 38, 63, 512, padding=2, dilation=2, offset_groups=4),
    "B: x[2,256,64,64] 256->256, 1 offset group": Shape(2, 256, 64, 64, 256),
}  # fmt: skip
OTHER_SHAPES = {
    "C 64, 3x3": Shape(1, 64, 64, 64, 64),
    "C 2048, 3x3": Shape(1, 2048, 14, 14, 256),
    "C 100 -> 90, odd size 37x53": Shape(1, 100, 37, 53, 90),
    "1x1": Shape(1, 256, 48, 48, 256, kernel=1, padding=0),
    "5x5": Shape(1, 128, 40, 40, 128, kernel=5, padding=2),
    "7x7": Shape(1, 64, 40, 40, 64, kernel=7, padding=3),
    "stride 2": Shape(1, 256, 64, 64, 256, stride=2),
    "batch 16": Shape(16, 128, 28, 28, 128),
}
GROWTH = {side: Shape(1, 64, side, side, 64) for side in (32, 64, 128, 256, 512)}


def forward_and_backward(prefix: str, function: Callable, tensors: list, wanted: list, head: torch.Tensor) -> dict:
    output = function(*tensors)
    return {
        f"{prefix}forward": torch.no_grad()(lambda: function(*tensors)),
        f"{prefix}backward": lambda: torch.autograd.grad(output, wanted, head, retain_graph=True),
    }


def with_split_products(call: Call) -> Call:
    def run() -> object:
        before = set_cpu_precision("bf16x3")
        try:
            return call()
        finally:
            set_cpu_precision(before)

    return run


def torch_calls(s: Shape, arrays: dict[str, np.ndarray]) -> dict[str, Call]:
    t = {name: torch.from_numpy(value).requires_grad_(name != "head") for name, value in arrays.items()}

    def dense(input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(input, weight, None, *s.geometry)

    def ours(input: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return deform_conv2d(input, offset, weight, None, *s.geometry)

    pair, three = [t["input"], t["weight"]], [t["input"], t["offset"], t["weight"]]
    last = [v.detach().contiguous(memory_format=torch.channels_last) for v in pair]
    calls = forward_and_backward("dense ", dense, pair, pair, t["head"])
    calls["dense forward channels_last"] = lambda: dense(*last)
    calls |= forward_and_backward("", ours, three, three, t["head"])
    if torch.ops.dcn.has_amx():
        calls |= {f"bf16x3 {which}": with_split_products(calls[which]) for which in ("forward", "backward")}
    low = [v.detach().bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_() for v in pair]
    low_head = t["head"].bfloat16().contiguous(memory_format=torch.channels_last)
    calls |= forward_and_backward("dense bf16 ", dense, low, low, low_head)
    low_three = [low[0], t["offset"], low[1]]
    calls |= forward_and_backward("bf16 ", ours, low_three, low_three, low_head)
    return calls


def load_torchvision(folder: Path) -> Callable:
    """torchvision's deform_conv2d out of `folder`, which holds the package and, beside a PyTorch without CUDA, stand-ins
    for the two CUDA libraries that the wheel links. The loader finds them at the start of a process only."""
    paths = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    if (folder / "libtorch_cuda.so").exists() and str(folder.resolve()) not in paths:
        os.environ["LD_LIBRARY_PATH"] = ":".join([str(folder.resolve()), *filter(None, paths)])
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.path.append(str(folder))
    from torchvision.ops import deform_conv2d as theirs

    return theirs


def torchvision_calls(theirs: Callable, s: Shape, arrays: dict[str, np.ndarray]) -> dict[str, Call]:
    t = {name: torch.from_numpy(value).requires_grad_(name != "head") for name, value in arrays.items()}
    three = [t["input"], t["offset"], t["weight"]]
    return forward_and_backward(
        "torchvision ", lambda input, offset, weight: theirs(input, offset, weight, None, *s.geometry), three, three,
        t["head"],
    )  # fmt: skip


def mxnet_calls(s: Shape, arrays: dict[str, np.ndarray]) -> dict[str, Call]:
    """Forward, and forward with backward: MXNet frees the graph after each backward pass."""
    import mxnet as mx

    given = [mx.nd.array(arrays[name]) for name in ("input", "offset", "weight")]
    head = mx.nd.array(arrays["head"])
    pads, dilations, kernel = ((value, value) for value in (s.padding, s.dilation, s.kernel))
    parameters = dict(kernel=kernel, pad=pads, dilate=dilations, num_filter=s.outputs,
                      num_deformable_group=s.offset_groups, no_bias=True)  # fmt: skip

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


def forward_only(s: Shape) -> dict[str, Call]:
    """Dense in both layouts and ours, for the tables of shapes and of growth."""
    calls = torch_calls(s, s.arrays()) if s.height * s.width <= 128**2 else {}
    if calls:
        names = ("dense forward", "dense forward channels_last", "forward", "bf16x3 forward")
        return {name: calls[name] for name in names if name in calls}
    arrays = {name: torch.from_numpy(value) for name, value in s.arrays().items()}
    return {"forward": lambda: deform_conv2d(arrays["input"], arrays["offset"], arrays["weight"], None, *s.geometry)}


def peak_extra_bytes(s: Shape) -> int:
    """How far the process's resident memory rises during one forward pass, the output not counted (Linux)."""
    arrays = {name: torch.from_numpy(value) for name, value in s.arrays().items()}
    call = [arrays["input"], arrays["offset"], arrays["weight"]]
    tiny = [v[:, :, :8, :8].contiguous() for v in call[:2]]
    deform_conv2d(tiny[0], tiny[1], call[2], None, *s.geometry)  # threads and allocators are there afterwards
    torch.ops.dcn.free_kept_memory()
    Path("/proc/self/clear_refs").write_text("5")

    def resident(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))

    before = resident("VmRSS")
    result = deform_conv2d(*call, None, *s.geometry)
    return resident("VmHWM") - before - result.numel() * result.element_size()
