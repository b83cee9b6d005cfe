"""MXNet's own BLAS, told what the processor can do."""

import os

import torch


def told_of_avx2() -> dict[str, str]:
    """The variable that tells MXNet's OpenBLAS of AVX2, where the processor has it; one that the user has set stays.

    The OpenBLAS inside of MXNet 1.9.1's wheel takes a processor newer than itself for one of 2004 (SSE3); told of AVX2, its
    float64 products run twice as fast (31 instead of 15 GFLOP/s a core on a 2023 Xeon). It looks when MXNet is loaded.
    """
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return {}
    return {"OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE", "Haswell")}
