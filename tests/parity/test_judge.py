"""The arithmetic of the verdict, on numbers small enough to check by hand."""

import numpy as np
import pytest

from dcn_suite.parity.judge import (
    BLOCK,
    ROUNDING,
    Judgement,
    judge,
    judge_without_float64,
    largest,
    largest_difference,
)

TRUTH = np.array([4.0, -2.0, 1.0, 0.5])


def witnesses(mxnet_error: float = 1e-7, torch_error: float = 1e-7, function_error: float = 0.0):
    mxnet32 = (TRUTH + np.array([mxnet_error, 0, 0, 0])).astype(np.float64)
    torch32 = (TRUTH + np.array([0, torch_error, 0, 0])).astype(np.float64)
    return mxnet32, TRUTH, torch32, TRUTH + np.array([0, 0, function_error, 0])


def test_equal_witnesses_hold():
    judgement = judge(TRUTH, TRUTH, TRUTH, TRUTH)
    assert judgement.holds
    assert judgement.worst.strain == 0


def test_float64_disagreement_of_more_than_1e11_of_scale_is_red():
    assert judge(*witnesses(function_error=3.9e-11)).holds
    judgement = judge(*witnesses(function_error=4.1e-11))
    assert not judgement.holds
    assert judgement.worst.what == "float64 PyTorch = float64 MXNet"


def test_float32_error_may_be_twice_the_original_plus_one_rounding_of_scale():
    allowed = 2 * 1e-6 + ROUNDING * 4
    assert judge(*witnesses(1e-6, 0.99 * allowed)).holds
    judgement = judge(*witnesses(1e-6, 1.01 * allowed))
    assert not judgement.holds
    assert judgement.worst.tolerance == pytest.approx(allowed)


def test_float32_is_measured_by_another_truth_where_one_is_given_and_float64_by_mxnets_all_the_same():
    other = TRUTH + 1e-3  # float64 with the decisions of the float32 runs, say
    assert judge(other, TRUTH, other, TRUTH, truth=other).holds
    assert not judge(other, TRUTH, TRUTH, TRUTH, truth=other).holds
    assert not judge(other, TRUTH, other, other, truth=other).holds


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_is_red(bad):
    broken = TRUTH.copy()
    broken[1] = bad
    assert not judge(TRUTH, TRUTH, broken, TRUTH).holds
    assert not judge(TRUTH, TRUTH, TRUTH, broken).holds


@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, 2 * BLOCK + 6])
def test_the_largest_of_an_array_is_found_wherever_it_is(place):
    """Arrays are looked at block by block."""
    values, truth = np.zeros((2, 2 * BLOCK + 7)), np.zeros((2, 2 * BLOCK + 7))
    values[1, place] = -3
    assert largest(values) == largest_difference(values, truth) == 3
    assert largest_difference(values, truth, values == 0) == 0
    assert largest_difference(values, truth, np.array([[False], [True]])) == 3
    truth[1, place] = values[1, place] = np.inf
    assert largest_difference(values, truth) == 0 and largest(values) == np.inf
    values[1, place] = np.nan
    assert np.isnan(largest(values)) and np.isnan(largest_difference(values, truth))


def test_another_shape_is_red_and_says_both():
    judgement = judge(TRUTH, TRUTH, TRUTH[:3], TRUTH[:3])
    assert not judgement.holds
    assert "(4,)" in judgement.worst.what
    assert "(3,)" in judgement.worst.what


def test_a_quantity_of_zeros_allows_only_zeros():
    zeros = np.zeros(4)
    assert judge(zeros, zeros, zeros, zeros).holds
    assert not judge(zeros, zeros, zeros + 1e-30, zeros).holds


def test_elements_on_the_kink_are_judged_float32_against_float32():
    mxnet32, truth, torch32, torch64 = witnesses()
    mxnet32, torch32 = mxnet32.copy(), torch32.copy()
    mxnet32[3] = torch32[3] = 7.5  # both fell into the other cell
    assert judge(mxnet32, truth, torch32 + 1e-3, torch64).holds  # left in, one kink hides every other mistake
    on_kink = np.array([False, False, False, True])
    judgement = judge(mxnet32, truth, torch32, torch64, apart=on_kink)
    assert judgement.holds
    assert judgement.apart == 1
    torch32[3] = 7.4
    judgement = judge(mxnet32, truth, torch32, torch64, apart=on_kink)
    assert not judgement.holds
    assert "kink" in judgement.worst.what


def test_an_element_set_apart_does_not_widen_the_allowance_of_the_others():
    mxnet32, truth, torch32, torch64 = witnesses(1e-7, 1e-5)
    mxnet32 = mxnet32.copy()
    mxnet32[3] += 1.0
    torch32 = torch32.copy()
    torch32[3] += 1.0
    assert not judge(mxnet32, truth, torch32, torch64, apart=np.array([False, False, False, True])).holds


def test_nothing_at_all_holds_with_no_elements():
    empty = np.zeros((0, 5))
    judgement = judge(empty, empty, empty, empty)
    assert judgement.holds
    assert judgement.elements == 0


def test_mistake_in_both_precisions_is_seen_without_mxnets_float64():
    truth = np.random.default_rng(0).standard_normal(1000)
    right, wrong = Judgement(), Judgement()
    judge_without_float64(right, truth.astype(np.float32), truth.astype(np.float32), truth)
    moved = truth * (1 + 3e-6)  # the size of a BatchNorm eps of 2e-5 taken as 1e-5
    judge_without_float64(wrong, truth.astype(np.float32), moved.astype(np.float32), moved)
    assert right.holds and not wrong.holds
