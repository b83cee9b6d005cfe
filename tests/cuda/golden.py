"""Golden cases: one call of an operator, its inputs, and what MXNet 1.9.1 made of them; how to run and compare one.

`golden.npz` holds `manifest` (JSON: who recorded it, and every case) and arrays `<case>/<part>/<name>`: part `input`
float32 (so that float32 and float64 runs start from the same numbers), and results in `float64`, or in `float32` where
MXNet's operator or the original's has no other. Without pickle.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import torch_port.ops as ops

FILE = Path(__file__).with_name("golden.npz")


@dataclass(frozen=True)
class Case:
    """operator: a function of torch_port.ops, called with `tensors` by position and `arguments` by name.

    results: names of what it returns. gradients: which tensors MXNet has a gradient for; `head` is what comes from
    above. witness: who made the results.
    """

    name: str
    operator: str
    tensors: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    results: tuple[str, ...] = ("output",)
    gradients: tuple[str, ...] = ()
    witness: str = "MXNet 1.9.1 CPU"


def save(path: Path, cases: list[Case], arrays: dict[str, np.ndarray], recorded_by: dict[str, str]) -> None:
    manifest = {"recorded_by": recorded_by, "cases": [asdict(case) for case in cases]}
    np.savez_compressed(path, manifest=np.array(json.dumps(manifest)), **arrays)


def load(path: Path = FILE) -> tuple[dict[str, Case], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    manifest = json.loads(str(arrays.pop("manifest")))
    cases = [Case(**{k: tuple(v) if isinstance(v, list) else v for k, v in case.items()}) for case in manifest["cases"]]
    return {case.name: case for case in cases}, arrays


def part(arrays: dict[str, np.ndarray], case: Case, which: str) -> dict[str, np.ndarray]:
    prefix = f"{case.name}/{which}/"
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


POSITIONS = ("offset", "mask", "rois")  # stay float32 beside float16 and bfloat16 maps: positions deserve the bits


def dtype_of(name: str, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if name in POSITIONS and dtype.itemsize == 2 else dtype


def rounded(inputs: dict[str, np.ndarray], dtype: torch.dtype) -> dict[str, np.ndarray]:
    """The same inputs as a run in `dtype` sees them, in float32."""
    return {name: torch.from_numpy(a).to(dtype_of(name, dtype)).float().numpy() for name, a in inputs.items()}


def run(
    case: Case,
    inputs: dict[str, np.ndarray],
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> dict[str, torch.Tensor]:
    """Results and gradients ("grad_<tensor>") of torch_port's operator, on the device."""
    tensors = {}
    for name in case.tensors:
        if name not in inputs:
            tensors[name] = None
            continue
        t = torch.from_numpy(inputs[name]).to(device, dtype_of(name, dtype))
        tensors[name] = t.contiguous(memory_format=memory_format) if t.dim() == 4 else t
        tensors[name].requires_grad_(name in case.gradients)
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in case.arguments.items()}
    made = getattr(ops, case.operator)(*tensors.values(), **arguments)
    made = made if isinstance(made, tuple) else (made,)
    found = dict(zip(case.results, made, strict=True))
    if case.gradients:
        head = torch.from_numpy(inputs["head"]).to(device, dtype)
        asked = [tensors[name] for name in case.gradients]
        for name, gradient in zip(case.gradients, torch.autograd.grad(made[0], asked, head), strict=True):
            found[f"grad_{name}"] = gradient
    return {name: t.detach() for name, t in found.items()}
