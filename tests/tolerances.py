"""Every tolerance of the test suite, each with its reason. `scale` means max |reference| of the tensor compared."""

# Two float64 implementations of the same function: rounding of sums of a few thousand terms.
FLOAT64_SAME_FUNCTION = 1e-11

# Our float32 error may be at most this many times the reference implementation's own float32 error,
# plus one rounding of the layer's scale (2**-23).
ERROR_RATIO = 2.0
FLOAT32_ROUNDING = 2.0**-23

# Boxes encoded and decoded in float64: exp(log(ratio)) * size of boxes up to 500 px and 2000 px from the origin.
BOX_ROUND_TRIP_PX = 1e-9
# Boxes up to a few hundred px: ours decoded in float64, MXNet's Proposal in float32 with its own exp: a few roundings.
PROPOSAL_FLOAT32_PX = 2e-4

# An element whose float32 and float64 values differ by more than this share of the scale was not rounded but decided
# differently: a coordinate on the edge of a cell fell to the other side. Rounding stays below 1e-5 in every case here.
DIFFERENT_CELL = 1e-4
# More such elements than this share would make the rule empty.
DIFFERENT_CELL_SHARE = 0.02

# Corners of proposals decoded in float64 by NumPy and by C++: the last bit of exp and of a float32 at 1000 px.
PROPOSAL_PIXELS = 2e-4

# Relative error of a float32 softmax: an exponential, a sum and a quotient, each rounded once, in either framework.
SOFTMAX_FLOAT32 = 4 * FLOAT32_ROUNDING

# Detection by a network whose batch normalisations are folded: every layer rounds differently, in float32.
FOLDED_ROI_PIXELS = 0.01
FOLDED_PROBABILITY = 1e-4

# How many standard errors the spread of randomly initialised weights may lie from the wanted one.
STANDARD_ERRORS = 5

# deform_conv2d on one instruction set or number of threads against another: sums of up to a few thousand terms in
# another order, in multiples of eps of the type.
DEFORM_CONV_ISA = 64
# ONNX Runtime's DeformConv in float32 against MXNet and ours, as a share of the output's scale: the same cells, sums of up
# to 864 products in another order.
ONNX_FLOAT32 = 1e-6
# Zero offsets against PyTorch's own convolution, as a share of the output's scale: another order of the same sums.
ZERO_OFFSETS_ARE_CONV2D = 1e-5

# Three SGD updates by MXNet in float32 against float64, as a share of the way a parameter moved: a few roundings of values
# up to a hundred times larger than their updates.
SGD_STEP = 1e-4

# A network of eight units in float32 against itself in float64, as a share of a layer's scale.
FLOAT32_NETWORK = 1e-4

# Recorded results (tests/cuda): our float32 against the recorded float64, as a share of the tensor's scale. Sums of up to
# 1152 products, with and without fused multiply-adds: about sqrt(1152) roundings of 2**-24, times 4 for the tail.
GOLDEN_FLOAT32 = 4 * 34 * 2.0**-24
# GPU forward in float32 against float64: sums of up to 1152 products, positions taken in float32 (offsets of 2 px on maps
# of 20 px: 2**-19 px, times a slope of about 2 per tap).
FUSED_FLOAT32 = 2e-5
# Low precision against float64 on the same rounded inputs: samples are rounded once before the product, the result once
# after; sums are float32. Two roundings of 2**-11 and 2**-8, times 2.
LOW_PRECISION = {"float16": 4 * 2.0**-11, "bfloat16": 4 * 2.0**-8}

# Boxes in pixels, and scores, that two frameworks find in float64, each deciding alone: proposals are rounded to float32 in
# both, so that 1e-13 of difference before them may be one float32 rounding of a corner at up to 256 px after (2**-16 px).
LOOKS_FLOAT64_PX = 2.0**-15

# `dcn predict` in two frameworks, float32, each deciding alone, on a small image: a network of eight units with weights that
# amplify little; boxes of at most 128 px, scores of a softmax over logits of a few units.
PREDICTED_PX = 0.01
PREDICTED_SCORE = 1e-4
# Split bfloat16 products (set_cpu_precision("bf16x3")) against float64, as a share of the tensor's scale: each product
# misses the product of its low parts (2**-18) and two roundings of low parts (2**-18 each), all of random sign.
BF16X3 = 1e-5

# GPU in TF32 against float64: both factors of every product are rounded to 10 bits of mantissa (2**-11 each, of the size of
# a term; random signs), sums are float32. Twice that.
TF32 = 2 * 2 * 2.0**-11
# The same on tensors of a handful of elements: the largest one may itself be what is left of larger products.
BF16X3_FEW_ELEMENTS = 5e-5

# Central differences with steps of 1e-6 of a piecewise smooth function in float64: the step's own error and rounding over it.
CENTRAL_DIFFERENCE = 1e-4
# Float32 sums of a few dozen products of numbers around 1 in another order.
SAME_SUM_FLOAT32 = 1e-5

# Scores of one network in two frameworks, in percent, over 5 small images: float32 outputs differ by roundings, which may
# swap detections of equal score; one swap moves the AP of a class with a few objects by about this.
SCORES_PERCENT = 0.2
# Average precision of one set of detections by two implementations: quotients of counts, summed in float64.
SAME_AP = 1e-12

# Weights after twenty updates, ||difference|| / ||weights||: two processes against one, MXNet's sums against PyTorch's. The
# same sums in another order, in float32, before any decision turns.
PROCESSES_SHARE_AN_UPDATE = 1e-5

# Losses of the first four updates under bfloat16 autocast against float32, relative: activations are rounded to 2**-9 at every
# layer, the losses themselves are float32.
LOSS_IN_BFLOAT16 = 0.01

# A converted checkpoint against the float32 output that MXNet recorded elsewhere, as a share of the output's scale: networks
# of up to 50 layers, each sum in another order.
RECORDED_FLOAT32 = 1e-5
# The recorded RNN (rnn_tanh) multiplies roundings by thousands over its 28 steps: MXNet's float32 is 7.1e-5 off float64.
RECORDED_RNN_TANH = 1e-4
# Losses over a hundred updates, relative, decisions replayed: float32 rounding of every forward pass, fed back through the weights.
HUNDRED_STEPS_LOSS = 1e-3

# Losses and arrays of the small classifier in two frameworks after three updates, as a share of the loss and of the largest
# step: float32 sums of a few thousand terms, grown by three steps of momentum.
FIRST_UPDATES = 1e-4
# Mean and deviation of 150 thousand float32 pixels against their float64 values of 1 and 0.
NORMALISED = 1e-3

# Operators that MXNet has in float32 only (or computes in float32 in a float64 graph), relative: exponentials, powers and sums
# of a few dozen terms, in another order.
OPERATOR_FLOAT32 = 1e-5
LOSS_GRADIENT = 1e-6  # of the largest: a softmax and a subtraction in float32, summed in another order
