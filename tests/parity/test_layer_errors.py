"""How exactly a stock layer has to round where its gradients are not compared: by MXNet's whole layer all the same."""

import numpy as np
import pytest

from dcn_suite.parity.isolated import Case, largest_error, segment_rows
from dcn_suite.parity.reference import NodeRun
from dcn_suite.parity.segments import Segment

TRUTH = np.linspace(1.0, 100.0, 50)


def off_by(error: float) -> np.ndarray:
    """TRUTH in float32 with one error of this size, over the scale."""
    found = TRUTH.copy()
    found[7] += error * 100
    return found


def verdict(
    op: str, error_torch: float, error_of_gradient: float | None, known: dict[tuple[str, ...], float] | None = None
) -> tuple[str, bool]:
    """Of a node whose output MXNet gives to 1e-6. known: of nodes before it."""
    segment = Segment(
        name="conv", op=op, attrs={}, nodes=("conv",), inputs=("data",), parameters=("weight",), outputs=("conv",),
        module="conv", depth=0,
    )  # fmt: skip
    theirs = {"float32": NodeRun([off_by(1e-6)], {}), "float64": NodeRun([TRUTH], {})}
    ours = {"float32": ([off_by(error_torch)], {}), "float64": ([TRUTH], {})}

    def with_gradients(inputs: dict) -> dict[str, NodeRun]:
        assert inputs == {"data": 1}
        return {
            "float32": NodeRun([off_by(1e-6)], {"data": off_by(error_of_gradient)}),
            "float64": NodeRun([TRUTH], {"data": TRUTH}),
        }

    case = Case("", {"data": 1}, theirs, ours)
    again = None if error_of_gradient is None else with_gradients
    (row,) = segment_rows(segment, case, {} if known is None else known, with_gradients=again)
    return row.verdict, row.measures["by_layer"]


@pytest.mark.parametrize(("op", "error_torch", "error_of_gradient", "expected"), [
    ("Convolution", 2e-6, None, ("holds", False)),
    ("Convolution", 2e-6, 9e-6, ("holds", False)),
    ("Convolution", 4e-6, None, ("red", False)),
    ("Convolution", 4e-6, 2.5e-6, ("holds", True)),
    ("Convolution", 4e-6, 1.5e-6, ("red", True)),
    ("Convolution", 4e-6, 0.5e-6, ("red", False)),
    ("BatchNorm", 4e-6, 9e-6, ("red", False)),
])  # fmt: skip
def test_the_layers_error_is_asked_of_stock_layers_alone_and_only_where_it_is_needed(
    op, error_torch, error_of_gradient, expected
):
    assert verdict(op, error_torch, error_of_gradient) == expected


def test_nodes_that_share_their_parameters_are_one_layer():
    assert verdict("Convolution", 4e-6, None, {("weight",): 9e-6}) == ("holds", True)
    assert verdict("Convolution", 4e-6, None, {("other",): 9e-6}) == ("red", False)
    known: dict[tuple[str, ...], float] = {}
    verdict("Convolution", 4e-6, 9e-6, known)
    assert known == {("weight",): pytest.approx(9e-6)}


def test_the_largest_error_is_over_each_quantitys_own_scale():
    runs = {
        "float32": NodeRun([TRUTH], {"data": off_by(3e-6), "weight": 1e-9 * off_by(5e-6), "bias": np.zeros(3)}),
        "float64": NodeRun([TRUTH], {"data": TRUTH, "weight": 1e-9 * TRUTH, "bias": np.zeros(3)}),
    }
    assert largest_error(runs) == pytest.approx(5e-6)
