"""Whole-number arrays: MXNet's results of arithmetic and of functions are whole numbers too, cut toward zero."""

import numpy as np
import pytest
import torch

from tests.convert_any.cases.case import case
from tests.convert_any.test_operators import one_node
from weights_convert import Params, convert, parse_symbol
from weights_convert.translate.operators.whole import cut

ONE, OTHER = np.array([7, -7, 1, 5, 9, 10]), np.array([2, 2, 3, 7, -4, 3])
PAIRS = (
    "elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div", "_power", "_mod", "_hypot", "_greater", "_maximum",
    "broadcast_add", "broadcast_sub", "broadcast_mul", "broadcast_div", "broadcast_power", "broadcast_mod",
    "broadcast_hypot", "broadcast_lesser_equal", "broadcast_minimum",
)  # fmt: skip
SCALARS = (
    "_plus_scalar", "_minus_scalar", "_rminus_scalar", "_mul_scalar", "_div_scalar", "_rdiv_scalar", "_mod_scalar",
    "_rmod_scalar", "_power_scalar", "_rpower_scalar", "_hypot_scalar", "_maximum_scalar", "_minimum_scalar",
    "_equal_scalar", "_not_equal_scalar", "_greater_scalar", "_greater_equal_scalar", "_lesser_scalar",
    "_lesser_equal_scalar", "_logical_and_scalar", "_logical_or_scalar", "_logical_xor_scalar",
)  # fmt: skip


ALONE = (
    "abs", "negative", "exp", "log", "log2", "log10", "log1p", "expm1", "sqrt", "rsqrt", "cbrt", "rcbrt", "square",
    "reciprocal", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "degrees", "radians", "sign", "floor", "ceil", "trunc", "fix", "round", "rint", "erf", "erfinv", "gamma", "gammaln",
    "logical_not", "relu", "sigmoid", "softsign", "ones_like", "zeros_like", "_copy", "BlockGrad", "make_loss",
)  # fmt: skip
SMALL = np.array([-125, -64, -27, -20, -10, -7, -2, -1, 0, 1, 2, 3, 8, 9, 10, 14, 17, 19, 22, 23, 27, 64, 100, 125])
LARGE = np.array([1000, 32768, 10**6, 10**9, 2**31 - 1, 1 - 2**31])
LARGEST = np.array([10**15, 2**53 + 1, 2**62 + 1, 10**18])
ROUNDED_BY_MXNET = (13, 15, 19, 20)  # its gamma function misses 12!, 14!, 18! and 19! by a rounding
VALUES = {
    np.uint8: np.arange(256),
    np.int8: SMALL,
    np.int32: np.concatenate((SMALL, LARGE)),
    np.int64: np.concatenate((SMALL, LARGE, LARGEST)),
}


def both(op: str, arrays: list[np.ndarray], **attrs: object) -> tuple[np.ndarray, np.ndarray]:
    """PyTorch's and MXNet's result of one node of whole-number arrays."""
    from mxnet_ref.any_graph import every_output

    text, inputs, _ = one_node(op, case(*arrays, **attrs))
    given = dict(zip(inputs, arrays, strict=True))
    (theirs,) = every_output(text, {}, {}, given).values()
    module = convert(parse_symbol(text), Params({}, {}), inputs=given)
    return module(**{name: torch.from_numpy(value) for name, value in given.items()}).numpy(), theirs


@pytest.mark.mxnet
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op", PAIRS)
def test_two_whole_number_arrays_give_mxnets_whole_numbers(op, dtype):
    ours, theirs = both(op, [ONE.astype(dtype), OTHER.astype(dtype)])
    assert ours.dtype == theirs.dtype == dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.mxnet
@pytest.mark.parametrize("scalar", [2.0, 2.5, 5.5, -1.5])
@pytest.mark.parametrize("op", SCALARS)
def test_whole_number_array_takes_the_whole_part_of_a_number(op, scalar):
    ours, theirs = both(op, [ONE], scalar=scalar)
    assert ours.dtype == theirs.dtype == np.int64
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.mxnet
@pytest.mark.parametrize("op", ["_mul_scalar", "_div_scalar", "_plus_scalar"])
def test_number_stated_to_be_no_whole_number_makes_float64(op):
    ours, theirs = both(op, [ONE], scalar=2.5, is_int=False)
    assert ours.dtype == theirs.dtype == np.float64
    np.testing.assert_allclose(ours, theirs, rtol=2**-52)


@pytest.mark.mxnet
@pytest.mark.parametrize("dtype", VALUES, ids=[each.__name__ for each in VALUES])
@pytest.mark.parametrize("op", ALONE)
def test_function_of_one_whole_number_array_gives_mxnets_whole_numbers(op, dtype):
    given = VALUES[dtype][~np.isin(VALUES[dtype], ROUNDED_BY_MXNET)] if op == "gamma" else VALUES[dtype]
    ours, theirs = both(op, [given.astype(dtype)])
    assert ours.dtype == theirs.dtype == dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.mxnet
@pytest.mark.parametrize("dtype", VALUES, ids=[each.__name__ for each in VALUES])
@pytest.mark.parametrize("op", ["sum", "nansum", "prod", "mean", "norm", "cumsum"])
def test_reduction_of_whole_numbers_stays_in_their_type_and_wraps_there(op, dtype):
    given = np.array([[100, 27, 33], [3, 40, 51], [7, 0, 1]]) - (50 if dtype(0) - 1 < 0 else 0)
    ours, theirs = both(op, [given.astype(dtype)], axis=1, **({"ord": 1} if op == "norm" else {}))
    assert ours.dtype == theirs.dtype == dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.mxnet
@pytest.mark.parametrize("dtype", VALUES, ids=[each.__name__ for each in VALUES])
def test_moments_of_whole_numbers_are_mxnets(dtype):
    from mxnet_ref.any_graph import every_output

    given = np.array([[100, 27, 33], [3, 40, 51]], dtype)
    text, inputs, _ = one_node("moments", case(given, axes="(1,)"))
    ours = convert(parse_symbol(text), Params({}, {}), inputs=inputs)(
        **{name: torch.from_numpy(given) for name in inputs}
    )
    for one, other in zip(ours, every_output(text, {}, {}, dict.fromkeys(inputs, given)).values(), strict=True):
        assert one.numpy().dtype == other.dtype == dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("dtype", "expected"), [("float16", 500.0), ("float32", 500.0), ("float64", 500.0)])
def test_norm_comes_in_the_type_asked_for(dtype, expected):
    """MXNet 1.9.1 gives these with MXNET_SAFE_ACCUMULATION=1 and refuses without."""
    text, inputs, _ = one_node("norm", case((2,), out_dtype=dtype))
    found = convert(parse_symbol(text), Params(), inputs=inputs)(data0=torch.tensor([300.0, 400.0]))
    assert (found.dtype, found.tolist()) == (getattr(torch, dtype), [expected])


@pytest.mark.mxnet
@pytest.mark.parametrize("dtype", VALUES, ids=[each.__name__ for each in VALUES])
def test_whole_numbers_are_cut_to_the_whole_parts_of_the_ends(dtype):
    ours, theirs = both("clip", [VALUES[dtype].astype(dtype)], a_min=-1.5, a_max=9.5)
    assert ours.dtype == theirs.dtype == dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("value", "dtype", "expected"), [(np.nan, torch.int32, -(2**31)), (np.inf, torch.int64, -(2**63)),
                                                          (np.nan, torch.uint8, 0), (300.9, torch.uint8, 44),
                                                          (-1.9, torch.int8, -1)])  # fmt: skip
def test_number_that_a_whole_type_cannot_hold_becomes_what_x86_makes_of_it(value, dtype, expected):
    assert cut(torch.tensor([value]), dtype).tolist() == [expected]
