"""Loads the native libraries once; importing it makes `torch.ops.dcn.*` exist.

DCN_CPU_LIBRARY in the environment names another build of the CPU library (tests/sanitizers.sh).
"""

import os
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent.parent
CPU_LIBRARY = Path(os.environ.get("DCN_CPU_LIBRARY") or PACKAGE / "_dcn_cpu.so")
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
CUDA_LOADED = CUDA_LIBRARY.exists() and torch.cuda.is_available()
if CUDA_LOADED:
    load(CUDA_LIBRARY)


def tell_kernels_about_settings() -> None:
    """Carries PyTorch's settings to the CUDA kernels, because the stable ABI cannot ask for them.

    torch.use_deterministic_algorithms: sums in a fixed order. torch.backends.cuda.matmul.fp32_precision == "tf32" (also
    by its older names allow_tf32 and torch.set_float32_matmul_precision): float32 products on tensor cores.
    """
    if CUDA_LOADED:
        torch.ops.dcn.set_cuda_deterministic(torch.are_deterministic_algorithms_enabled())
        torch.ops.dcn.set_cuda_tf32(torch.backends.cuda.matmul.fp32_precision == "tf32")
