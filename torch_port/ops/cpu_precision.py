"""How `deform_conv2d` multiplies float32 numbers on the CPU."""

import warnings

import torch

from torch_port.ops import library  # noqa: F401  loads the kernels


def set_cpu_precision(precision: str) -> str:
    """Chooses the products of float32 deformable convolutions on the CPU, for the whole process; returns the one before.

    Args:
        precision: "float32" (the default), or "bf16x3": each float32 number is split into a high and a low bfloat16 and
            three of their four products are added up in float32 on the processor's matrix unit (Intel AMX). A product
            misses at most 3 * 2^-18 of its own size; output and gradients were measured to stay within 1e-5 of their
            largest magnitude (tests/ops/test_cpu_precision.py). Data stay float32.
    float32 is used all the same, call by call, where "bf16x3" cannot keep that promise or does not pay: NaN, Inf, or a
    tensor whose largest magnitude is beyond 2^60 or below 2^-60 (a low part would overflow or be flushed to zero),
    groups of so few channels (or outputs: 8) that most of a tile would be padding, float64 data. The same holds on a processor
    without AMX, with a warning here.
    Raises: RuntimeError for another name.
    """
    before = torch.ops.dcn.set_cpu_precision(precision)
    if precision != "float32" and not torch.ops.dcn.has_amx():
        warnings.warn(
            "set_cpu_precision: no AMX on this processor or in this build, float32 stays in use", stacklevel=2
        )
    return before
