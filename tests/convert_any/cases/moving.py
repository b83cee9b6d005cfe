"""Operators that move numbers, and those that make arrays."""

from tests.convert_any.cases.case import case, numbers

X = (2, 4, 6, 3)

CASES = {
    "_npi_zeros": {"shape": case(shape="(2, 3)", dtype="float32")},
    "_npi_ones": {"shape": case(shape="(2, 3)")},
    **{
        f"_npi_{name}": {"equal ones too": case(numbers(0, 1, 2), numbers(1, 1, 1))}
        for name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
    },
    **{
        f"_npi_{name}_scalar": {"equal ones too": case(numbers(0, 1, 2), scalar=1)}
        for name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
    },
    "_npi_concatenate": {"axis 1": case((2, 3), (2, 4), axis=1, num_args=2), "first": case((2, 3), (1, 3), num_args=2)},
    "_np_transpose": {"axes": case((2, 3, 4), axes="(0, 2, 1)"), "turned around": case((2, 3, 4), axes="None")},
    "_np_reshape": {"inferred": case((2, 3, 4), newshape="(2, -1)", order="C")},
    "_npx_reshape": {
        "keep, rest": case((2, 3, 4, 5), newshape="(-2, -4)"),
        "keep, infer": case((2, 3, 4, 5), newshape="(-2, -1)"),
        "merge, keep": case((2, 3, 4, 5), newshape="(-5, -2, -2)"),
        "split, rest": case((6, 4, 5), newshape="(-6, 2, -1, -4)"),
        "drop": case((2, 1, 4), newshape="(-2, -3, -2)"),
        "from the right": case((2, 3, 4), newshape="(-1, -5)", reverse=True),
    },
    "_npi_where": {"broadcast": case(((2, 3), -1, 1), (3,), (2, 1))},
    "_npi_mean": {
        "axes": case((2, 3, 4), axis="(1, 2)", keepdims=False),
        "kept": case((2, 3, 4), axis="(-1,)", keepdims=True),
        "in float64": case((2, 3, 4), axis="(1,)", dtype="float64"),
    },
    "_np_sum": {
        "axes": case((2, 3, 4), axis="(0, 2)"),
        "one": case((2, 3, 4), axis=1, keepdims=True),
        "in float64": case((2, 3, 4), axis="(1,)", dtype="float64"),
    },
    "_np_max": {"one": case((2, 3, 4), axis="-1")},
    "_np_min": {"one": case((2, 3, 4), axis="0")},
    "_np_dot": {"matrices": case((2, 3), (3, 4)), "stacks": case((2, 3), (5, 3, 4))},
    "_npi_matmul": {"stacks": case((2, 2, 3), (2, 3, 4))},
    "_npi_einsum": {"transposed": case((2, 3), (4, 3), subscripts="ab,cb->ac", num_args=2)},
    "Reshape": {
        "keep and infer": case(X, shape="(0, -1)"),
        "rest": case(X, shape="(4, 2, -2)"),
        "merge": case(X, shape="(0, -3, 0)"),
        "split": case(X, shape="(0, -4, 2, -1, 0, 0)"),
        "split, first inferred": case(X, shape="(-4, -1, 2, -3, 0)"),
        "from the right": case((10, 5, 4), shape="(-1, 0)", reverse=True),
        "merge from the right": case((8, 3, 3, 3, 4, 4), shape="(0, 0, -3, -3)", reverse=True),
        "Python 2's long": case(X, shape="(-1L,)"),
        "old target_shape": case(X, target_shape="(0, 8)"),
    },
    "Flatten": {"four axes": case(X)},
    "transpose": {"axes": case(X, axes="(0, 2, 3, 1)"), "turned around": case(X)},
    "expand_dims": {"first": case(X, axis=0), "last": case(X, axis=-1)},
    "squeeze": {
        "all": case((1, 3, 1, 2)),
        "named": case((1, 3, 1, 2), axis="2"),
        "several": case((1, 3, 1, 2), axis="(0, 2)"),
    },
    "SwapAxis": {"1 and 3": case(X, dim1=1, dim2=3)},
    "Concat": {
        "channels": case((2, 3, 4), (2, 1, 4), num_args=2),
        "axis 2": case((2, 3, 4), (2, 3, 1), num_args=2, dim=2),
    },
    "stack": {"axis 1": case((2, 3), (2, 3), num_args=2, axis=1)},
    "SliceChannel": {
        "two": case(X, num_outputs=2),
        "squeezed": case(X, num_outputs=3, axis=3, squeeze_axis=True),
        "one": case(X, num_outputs=1),
    },
    "_split_v2": {
        "at places": case(X, indices="(0, 1, 4)", axis=2),
        "sections": case(X, indices="()", sections=2, axis=1),
        "uneven sections": case((1, 11), indices="()", sections=3, axis=1),
    },
    "slice": {
        "None": case(X, begin="(None, 1)", end="(None, 3)"),
        "backwards": case(X, begin="(0, 3, 5)", end="(2, 0, None)", step="(1, -1, -2)"),
        "from the end": case(X, begin="(0, -2)", end="(1, -1)"),
    },
    "slice_axis": {
        "to the end": case(X, axis=2, begin=2, end="None"),
        "from the end": case(X, axis=-1, begin=-2, end=-1),
    },
    "slice_like": {"all axes": case(X, (1, 2, 3, 1)), "named": case(X, (1, 2, 3, 1), axes="(1, -2)")},
    "reshape_like": {
        "whole": case(X, (8, 18)),
        "range": case((30, 7), (15, 2, 4), lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2),
    },
    "broadcast_axis": {"two": case((1, 3, 1), axis="(0, 2)", size="(2, 4)")},
    "broadcast_to": {"0 keeps": case((1, 3, 1), shape="(2, 0, 4)")},
    "broadcast_like": {
        "whole": case((1, 3, 1), (2, 3, 4)),
        "axes": case((1, 3, 1), (5, 7), lhs_axes="(0, 2)", rhs_axes="(0, 1)"),
    },
    "tile": {"more axes": case((2, 3), reps="(2, 1, 3)")},
    "repeat": {"axis": case((2, 3), repeats=2, axis=1), "flattened": case((2, 3), repeats=2)},
    "reverse": {"axis": case(X, axis="(1,)")},
    "depth_to_space": {"block 2": case((1, 8, 2, 3), block_size=2)},
    "space_to_depth": {"block 2": case((1, 2, 4, 6), block_size=2)},
    "shape_array": {"shape": case(X)},
    "size_array": {"size": case(X)},
    "diag": {"of a matrix": case((4, 5), k=1), "of a vector": case((4,))},
    "_zeros": {"shape": case(shape="(2, 3)")},
    "_ones": {"shape": case(shape="(2,)")},
    "_full": {"value": case(shape="(2, 2)", value=1.5)},
    "_arange": {
        "stop only": case(start=0, stop=5),
        "steps": case(start=1, stop=6, step=1.5),
        "repeated": case(start=0, stop=3, repeat=2),
    },
    "_eye": {"diagonal": case(N=3, M=4, k=1)},
    "_linspace": {"without the end": case(start=0, stop=1, num=4, endpoint=False)},
    "_contrib_arange_like": {"axis": case(X, axis=2), "whole": case((2, 3), start=1, step=2)},
    "_contrib_index_array": {"all": case((2, 3))},
    "im2col": {"padded": case((1, 2, 4, 5), kernel="(3, 3)", pad="(1, 1)", stride="(2, 1)")},
}
