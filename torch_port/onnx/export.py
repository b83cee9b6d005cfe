"""Writes a module as an ONNX file of standard operators."""

import importlib.util
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path

WHO = "torch_port.onnx.export"
OLDEST_OPSET = 19  # has DeformConv
Dynamic = bool | Mapping[str, tuple[int, ...]]


def export(
    module: nn.Module,
    args: tuple[Tensor, ...],
    path: str | PathLike,
    *,
    dynamic: Dynamic = False,
    opset: int = OLDEST_OPSET,
    input_names: list[str] | None = None,
    output_names: list[str] | None = None,
) -> Path:
    """Write `module`, as it computes in evaluation mode, to an ONNX file.

    `deform_conv2d` and `modulated_deform_conv2d` become the standard DeformConv: alone for border="zeros", behind a
    clamp and a mask of the offsets for border="clamp". `roi_pool` becomes MaxRoiPool. Positions and RoIs that are
    not finite are the runtime's business, but for positions under "clamp", which sample 0 as here.

    Args:
        module: its forward takes tensors and returns tensors, or a tuple of them. Left in the mode it was in.
        args: example inputs, as `module(*args)` takes them.
        path: of the file, written under a temporary name and renamed.
        dynamic: which axes may have other sizes than in the example. True: images, height and width (0, 2, 3) of every
            input of four dimensions. Or names of forward's parameters with their axes: {"input": (0, 2, 3)}.
        opset: ONNX operator set, at least 19.
        input_names, output_names: of the graph; None: PyTorch's own choice.
    Returns: path.
    Raises: ImportError without the packages onnx and onnxscript. InputError for an operator of ours that has no form in
        ONNX (it is named, with the module that calls it), for an opset below 19 and for a `dynamic` that fits no input.
    """
    need_packages()
    if opset < OLDEST_OPSET:
        raise InputError(f"{WHO}: opset: expected {OLDEST_OPSET} or more, where DeformConv is, got {opset}")
    from torch_port.onnx.forms import FORMS

    shapes = dynamic_shapes(module, args, dynamic)
    with in_evaluation_mode(module), quiet_exporter(), torch.no_grad():
        program = torch.export.export(module, two_images(args, shapes), dynamic_shapes=shapes)
        refuse_operators_without_form(program, set(FORMS))
        onnx_program = torch.onnx.export(
            program, dynamo=True, opset_version=opset, custom_translation_table=FORMS, verbose=False,
            input_names=input_names, output_names=output_names,
        )  # fmt: skip
    return write(onnx_program, Path(path))


@contextmanager
def in_evaluation_mode(module: nn.Module) -> Iterator[None]:
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """PyTorch's exporter warns about its own deprecations and about torchvision's absence."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def need_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{WHO}: needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "pip install 'dcn-port[onnx]', or pip install onnx onnxscript"
        )


def dynamic_shapes(module: nn.Module, args: tuple[Tensor, ...], dynamic: Dynamic) -> tuple | None:
    """torch.export's description: one {axis: DYNAMIC} for each argument."""
    names = list(inspect.signature(module.forward).parameters)[: len(args)]
    if isinstance(dynamic, bool):
        axes: dict[str, tuple[int, ...]] = {
            name: (0, 2, 3) for name, a in zip(names, args, strict=True) if dynamic and a.dim() == 4
        }
    else:
        axes = dict(dynamic)
    sizes = dict(zip(names, (a.dim() for a in args), strict=True))
    for name, given in axes.items():
        if name not in sizes:
            raise InputError(f"{WHO}: dynamic: expected names among {names}, got {name!r}")
        if any(not 0 <= axis < sizes[name] for axis in given):
            raise InputError(f"{WHO}: dynamic: expected axes of {name}, 0 to {sizes[name] - 1}, got {tuple(given)}")
    auto = torch.export.Dim.DYNAMIC
    return tuple({axis: auto for axis in axes.get(name, ())} for name in names) if axes else None


def two_images(args: tuple[Tensor, ...], shapes: tuple | None) -> tuple[Tensor, ...]:
    """torch.export takes a size of 1 for a constant: an example of one image is doubled where N may vary."""
    if shapes is None:
        return args
    return tuple(torch.cat([a, a]) if 0 in axes and len(a) == 1 else a for a, axes in zip(args, shapes, strict=True))


def refuse_operators_without_form(program: torch.export.ExportedProgram, known: set) -> None:
    found = {}
    for node in program.graph.nodes:
        if getattr(node.target, "namespace", None) == "dcn" and node.target not in known:
            callers = list(node.meta.get("nn_module_stack", {}).values())
            found[node.target.name().removeprefix("dcn::")] = callers[-1][0] if callers else ""
    if found:
        calls = ", ".join(f"{name} (in {caller or 'the module itself'})" for name, caller in found.items())
        raise InputError(
            f"{WHO}: expected operators that ONNX has, got {calls}: no standard ONNX operator computes the same; "
            "export the part of the network before it (its backbone), and run the rest in PyTorch"
        )


def write(onnx_program: Any, path: Path) -> Path:
    import onnx

    with atomic_path(path) as temporary:
        onnx_program.save(str(temporary), external_data=False)
        onnx.checker.check_model(str(temporary), full_check=True)
    return path
