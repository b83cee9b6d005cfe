"""`dcn info`: what is installed here and what the kernels will use."""

import argparse
import importlib.metadata
import importlib.util
import os
import platform

from dcn_suite.cli.output import print_json, print_table

ISA_FLAGS = {"avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq"}, "avx2": {"avx2", "fma"}}
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
    """The instruction set that torch_port's kernels take here: the widest that they are compiled for and this CPU has.

    Source: the choice in csrc/cpu/deform_psroi_pool.cpp and its siblings, from the same CPU flags.
    """
    try:
        from torch_port.ops import library  # noqa: F401, loads the native library or says how to build it
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: a library older than the sources
        return f"not loaded ({error})"
    flags = cpu_flags()
    return next((isa for isa, needed in ISA_FLAGS.items() if needed <= flags), "portable")


def cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(line.partition(":")[2].split())
