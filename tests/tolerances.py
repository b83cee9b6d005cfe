"""Every tolerance of the test suite, each with its reason. `scale` means max |reference| of the tensor compared."""

# Two float64 implementations of the same function: rounding of sums of a few thousand terms.
FLOAT64_SAME_FUNCTION = 1e-11

# Our float32 error may be at most this many times the reference implementation's own float32 error,
# plus one rounding of the layer's scale (2**-23).
ERROR_RATIO = 2.0
FLOAT32_ROUNDING = 2.0**-23
