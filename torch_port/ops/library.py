"""Loads the native libraries once; importing it makes `torch.ops.dcn.*` exist."""

from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent.parent
CPU_LIBRARY = PACKAGE / "_dcn_cpu.so"
CUDA_LIBRARY = PACKAGE / "_dcn_cuda.so"


def load(path: Path) -> None:
    """Raises ImportError that names the file and the command that builds it."""
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        built = "was built for another PyTorch or machine" if path.exists() else "has not been built"
        raise ImportError(
            f"torch_port: native library {path.name} {built} ({error}): build it in the source tree with "
            "`python setup.py build_ext --inplace`, or install the package again"
        ) from error


load(CPU_LIBRARY)
if CUDA_LIBRARY.exists() and torch.cuda.is_available():
    load(CUDA_LIBRARY)
