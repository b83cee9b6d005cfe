"""Functions of single elements, of two arrays, of an array and a number; reductions."""

from tests.convert_any.cases.case import case, numbers

X, Y = (2, 3, 4), (2, 1, 4)
POSITIVE = (X, 0.1, 3.0)
INSIDE = (X, -0.9, 0.9)
HALVES = numbers(-2.5, -1.5, -0.5, -0.4, 0.0, 0.4, 0.5, 1.5, 2.5)
EQUALS = numbers(0.0, 1.0, 2.0, -1.0)

ANY = ("abs", "negative", "exp", "expm1", "cbrt", "square", "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "arcsinh",
       "sign", "erf", "relu", "sigmoid", "softsign", "ones_like", "zeros_like", "_copy", "BlockGrad",
       "make_loss", "_contrib_div_sqrt_dim")  # fmt: skip
OF_POSITIVE = ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "rcbrt", "reciprocal", "gamma", "gammaln")
OF_SMALL = ("arcsin", "arccos", "arctanh", "erfinv")
ROUNDING = ("floor", "ceil", "trunc", "fix", "round", "rint")
TWO = ("power", "maximum", "minimum", "mod", "hypot")
COMPARING = ("equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal")
LOGICAL = ("logical_and", "logical_or", "logical_xor")
ARITHMETIC = ("add", "sub", "mul", "div")
SCALAR = (
    "plus",
    "minus",
    "rminus",
    "mul",
    "div",
    "rdiv",
    "mod",
    "rmod",
    "power",
    "rpower",
    "maximum",
    "minimum",
    "hypot",
)

CASES = {
    **{name: {"any number": case(X)} for name in ANY},
    **{name: {"positive": case(POSITIVE)} for name in OF_POSITIVE},
    **{name: {"inside (-1, 1)": case(INSIDE)} for name in OF_SMALL},
    **{name: {"halves": case(HALVES)} for name in ROUNDING},
    **{name: {"float32": case(X, only32=True)} for name in ("degrees", "radians")},
    "arccosh": {"above 1": case((X, 1.1, 3.0))},
    "logical_not": {"zeros": case(EQUALS)},
    **{f"elemwise_{name}": {"one shape": case(X, POSITIVE)} for name in ARITHMETIC},
    **{f"broadcast_{name}": {"axes of 1": case(X, (Y, 0.5, 2.0))} for name in ARITHMETIC},
    **{f"_{name}": {"one shape": case(POSITIVE, (X, 0.5, 2.0))} for name in TWO},
    **{f"broadcast_{name}": {"axes of 1": case(POSITIVE, (Y, 0.5, 2.0))} for name in TWO},
    **{f"_{name}": {"equal ones too": case(EQUALS, numbers(0.0, 2.0, 1.0, 0.0))} for name in COMPARING + LOGICAL},
    **{f"broadcast_{name}": {"equal ones too": case(EQUALS, numbers(1.0))} for name in COMPARING + LOGICAL},
    **{f"_{name}_scalar": {"2.5": case(POSITIVE, scalar=2.5)} for name in SCALAR},
    **{f"_{name}_scalar": {"equal ones too": case(EQUALS, scalar="1.0")} for name in COMPARING + LOGICAL},
    "add_n": {"three": case(X, X, X, num_args=3), "one": case(X, num_args=1)},
    "clip": {"both ends": case(X, a_min="-0.3", a_max="0.7")},
    "Cast": {"towards zero": case(HALVES, dtype="int32")},
    "smooth_l1": {"sigma 3": case(X, scalar=3.0)},
    "_contrib_quadratic": {"all terms": case(X, a=2.0, b=-1.0, c=0.5)},
    "sum": {"all": case(X), "axes kept": case(X, axis="(0, 2)", keepdims=True), "all but": case(X, axis=1, exclude=True)},
    "mean": {"all": case(X), "last": case(X, axis="-1"), "all but": case(X, axis="(1,)", exclude=1)},
    "max": {"all": case(X), "axes": case(X, axis="(1, 2)")},
    "min": {"all": case(X), "axes": case(X, axis="(1, 2)", keepdims=True)},
    "prod": {"all": case(X), "axes": case(X, axis="(0, 2)")},
    "nansum": {"NaN": case(numbers(1.0, float("nan"), 2.0))},
    "norm": {"2, all": case(X), "1, axis": case(X, ord=1, axis="1"), "2, kept": case(X, axis="(1, 2)", keepdims=True)},
    "argmax": {"axis": case(X, axis=1), "kept": case(X, axis=-1, keepdims=True), "first of equals": case(numbers((1, 3, 3)), axis=1)},
    "argmin": {"axis": case(X, axis=1), "first of equals": case(numbers((3, 1, 1)), axis=1)},
    "argmax_channel": {"axis 1": case((3, 5))},
    "cumsum": {"axis": case(X, axis=1), "flattened": case(X), "in float64": case(X, axis=1, dtype="float64"),
               "in int32": case(numbers((3, -2.5, 1.7), (-1.5, -2.5, 7)), axis=1, dtype="int32")},
    "moments": {"axes": case(X, axes="(0, 2)")},
}  # fmt: skip
