"""Rows about losses, decisions and last weights."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from dcn_suite.parity.rows import HOLDS, RED, Row, counted_row, reported_row
from dcn_tasks.config import Config
from torch_port.models.replay import ReplayReport
from weights_convert import Params, to_torch

CHECK = "trajectory"
LOSS_TOLERANCE = 1e-4  # relative: float32 rounding of a forward pass, grown over twenty updates
WEIGHT_TOLERANCE = 1e-4  # relative, all weights and statistics as one vector
FLOAT64_TOLERANCE = (
    1e-11  # relative, of losses and weights: as of one function (judge.FUNCTION_TOLERANCE), over all updates
)
DECISIONS_PARTED = (
    1e-4  # share of an update's decisions that a rounding may turn; a handful of 600 000 in the narrow nets
)
REPLAYED = "decisions replayed"
FLOAT64 = "float64, nothing replayed"
Arrays = Mapping[str, np.ndarray]


def loss_row(
    update: int, name: str, expected: float, got: float, relative_tolerance: float, how: str = REPLAYED
) -> Row:
    tolerance = relative_tolerance * abs(expected)
    error = abs(got - expected)
    holds = error <= tolerance
    strain = error / tolerance if tolerance else 0.0 if holds else float("inf")
    return Row(
        CHECK, f"update {update}", name, f"same loss, {how}", expected, got, tolerance,
        HOLDS if holds else RED, strain=strain, depth=update,
        measures={"scale": abs(expected), "function_error" if how == FLOAT64 else "replayed_error": error},
    )  # fmt: skip


def decisions_row(update: int, report: ReplayReport) -> Row:
    differing, total = (sum(count[place] for count in report.rows()) for place in (1, 2))
    claim = f"of {total} replayed decisions, PyTorch alone would differ in"
    allowed = int(DECISIONS_PARTED * total)
    return counted_row(CHECK, f"update {update}", "decisions", claim, differing, allowed, depth=update)


def weight_rows(
    network: nn.Module, theirs: tuple[Arrays, Arrays], cfg: Config, tolerance: float, how: str = REPLAYED
) -> Iterator[Row]:
    """The weights and statistics after the last update: all as one vector, judged; the array that is farthest off, reported."""
    expected = to_torch(Params(*theirs), cfg, use_test_weights=False)
    state = network.state_dict()
    apart = {name: torch.linalg.vector_norm((state[name] - value).double()).item() for name, value in expected.items()}
    norms = {name: torch.linalg.vector_norm(value.double()).item() for name, value in expected.items()}
    whole = math.hypot(*apart.values()) / math.hypot(*norms.values())
    yield Row(
        CHECK, "after the last update", "weights", f"||difference|| / ||weights||, {how}", 0.0, whole, tolerance,
        HOLDS if whole <= tolerance else RED, strain=whole / tolerance,
    )  # fmt: skip
    shares = {name: apart[name] / norm for name, norm in norms.items() if norm}
    farthest = max(shares, key=shares.__getitem__)
    yield reported_row(
        CHECK, "after the last update", "weights", f"the same of {farthest}, {how}", 0.0, shares[farthest]
    )


def relative(got: float, expected: float) -> float:
    return abs(got - expected) / abs(expected) if expected else abs(got)
