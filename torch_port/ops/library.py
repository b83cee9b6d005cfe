"""Loads the native libraries: importing this module makes `torch.ops.dcn` complete."""

from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent.parent


def load() -> None:
    """Loads `_dcn_cpu.so`, and `_dcn_cuda.so` where it was built.

    Raises: ImportError that says how to build the CPU library where it is missing.
    """
    cpu, cuda = FOLDER / "_dcn_cpu.so", FOLDER / "_dcn_cuda.so"
    if not cpu.exists():
        raise ImportError(f"torch_port: expected the native library {cpu}, found none: pip install . (or init.sh)")
    torch.ops.load_library(str(cpu))
    if cuda.exists() and torch.cuda.is_available():
        torch.ops.load_library(str(cuda))


load()
