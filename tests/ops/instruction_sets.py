"""Runs the CPU kernels with each instruction set that this processor has."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

import torch_port.ops  # noqa: F401  loads the kernels


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    before = torch.ops.dcn.set_isa(name)
    try:
        yield
    finally:
        torch.ops.dcn.set_isa(before)


def available() -> list[str]:
    """Of plain, portable, avx2 and avx512, those that run here."""
    found = []
    for name in ("plain", "portable", "avx2", "avx512"):
        try:
            with instruction_set(name):
                found.append(name)
        except RuntimeError as error:  # "this processor has no ..."
            assert "no " + name in str(error)
    return found
