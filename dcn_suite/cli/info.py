"""`dcn info`: what is installed here and what the kernels will use."""

import argparse
import importlib.metadata
import importlib.util
import os
import platform

from dcn_suite.cli.output import print_json, print_table

PACKAGES = ("dcn-port", "torch", "numpy", "safetensors", "ml_dtypes", "opencv-python-headless", "mxnet", "mxnet-cu112")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "info",
        help="versions, instruction set, GPU library, and whether MXNet is here",
        description="Says what is installed, which CPU kernels run, and whether the CUDA library is built.",
        epilog="example: dcn info --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    facts = gather()
    if args.json:
        print_json(facts)
    else:
        print_table(
            "dcn info", ("what", "here"), [[key, "-" if value is None else value] for key, value in facts.items()]
        )
    return 0


def gather() -> dict[str, object]:
    facts: dict[str, object] = {"python": platform.python_version(), "machine": platform.machine()}
    facts |= {name: version(name) for name in PACKAGES}
    facts["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS")
    facts["mxnet importable"] = importlib.util.find_spec("mxnet") is not None
    return facts | torch_facts()


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_facts() -> dict[str, object]:
    import torch

    facts: dict[str, object] = {"torch threads": torch.get_num_threads(), "torch CPU capability": cpu_capability(torch)}
    facts["CPU kernels"] = kernel_isa()
    facts["CUDA in torch"] = torch.version.cuda
    facts["GPU"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    package = importlib.util.find_spec("torch_port")
    folder = package.submodule_search_locations[0] if package and package.submodule_search_locations else ""
    for library in ("_dcn_cpu.so", "_dcn_cuda.so"):
        facts[library] = "built" if os.path.exists(os.path.join(folder, library)) else "not built"
    return facts


def cpu_capability(torch: object) -> str:
    return torch.backends.cpu.get_cpu_capability()  # type: ignore[attr-defined]


def kernel_isa() -> str:
    """The instruction set that torch_port's own kernels chose on this machine."""
    try:
        from torch_port.ops import library
    except (ImportError, OSError) as error:
        return f"not loaded ({error})"
    isa = getattr(library, "cpu_isa", None)
    return isa() if isa else "portable"
