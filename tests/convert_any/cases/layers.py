"""Layers: convolutions, pooling, normalisations, activations, resizing, loss heads, recurrences."""

from tests.convert_any.cases.case import case, numbers, whole

X = (2, 4, 7, 9)
POSITIVE = ((4,), 0.5, 1.5)
LSTM = 2 * (16 * (3 + 4) + 16 * (8 + 4)) + 2 * 2 * 2 * 16  # two directions: weights of two layers, and biases

CASES = {
    "FullyConnected": {
        "flattens by default": case(X, (5, 252), (5,), num_hidden=5),
        "last axis alone": case(X, (5, 9), (5,), num_hidden=5, flatten=False),
        "without bias": case((2, 6), (5, 6), num_hidden=5, no_bias=True),
        "one axis": case((4,), (3, 1), (3,), num_hidden=3),
    },
    "Convolution": {
        "padded, strided": case(X, (6, 4, 3, 3), (6,), kernel="(3, 3)", num_filter=6, pad="(1, 1)", stride="(2, 2)"),
        "dilated, grouped": case(X, (6, 2, 3, 3), (6,), kernel="(3,3)", num_filter=6, dilate="(2L, 2L)", num_group=2),
        "depthwise, uneven": case(X, (4, 1, 1, 3), kernel="(1,3)", num_filter=4, num_group=4, no_bias=1, pad="(0,1)"),
        "one dimension": case((2, 4, 9), (6, 4, 3), (6,), kernel="(3,)", num_filter=6, pad="(1,)"),
        "three dimensions": case((1, 2, 5, 6, 7), (3, 2, 3, 3, 3), (3,), kernel="[3,3,3]", num_filter=3, stride="(1,2,2)"),
    },
    "Deconvolution": {
        "strided, without bias": case(X, (4, 3, 4, 4), kernel="(4,4)", num_filter=3, stride="(2,2)", pad="(1,1)"),
        "adj": case(X, (4, 3, 3, 3), (3,), kernel="(3,3)", num_filter=3, stride="(2,2)", adj="(1,1)", no_bias=False),
        "grouped": case(X, (4, 1, 4, 4), kernel="(4,4)", num_filter=4, stride="(2,2)", num_group=4),
        "dilated": case(X, (4, 3, 3, 3), kernel="(3,3)", num_filter=3, dilate="(2,2)"),
    },
    "Correlation": {
        "rows of displacements": case((2, 3, 8, 9), (2, 3, 8, 9), max_displacement=2, pad_size=2),
        "strides, larger patches": case((1, 3, 9, 11), (1, 3, 9, 11), kernel_size=3, max_displacement=4, stride1=2, stride2=2, pad_size=4),
        "differences, no padding": case((1, 2, 9, 8), (1, 2, 9, 8), kernel_size=1, max_displacement=3, stride2=2, is_multiply=0),
    },
    "Embedding": {"numbers outside are cut": case(numbers(-1, 0, 3, 7), (5, 3), input_dim=5, output_dim=3)},
    "dot": {
        "last with first": case((2, 3), (3, 4, 5)),
        "transposed": case((3, 2), (4, 3), transpose_a=True, transpose_b=True),
        "vectors": case((5,), (5,)),
    },
    "batch_dot": {"plain": case((2, 3, 4), (2, 4, 5)), "transposed": case((2, 3, 4), (2, 5, 4), transpose_b=True)},
    "_linalg_gemm2": {"alpha": case((2, 3, 4), (2, 3, 5), transpose_a=True, alpha=0.5)},
    "Pooling": {
        "valid drops the rest": case((1, 2, 8, 9), kernel="(3, 3)", stride="(2, 2)"),
        "full keeps it": case((1, 2, 8, 9), kernel="(3, 3)", stride="(2, 2)", pooling_convention="full"),
        "full, last window in the padding": case((1, 2, 5, 5), kernel="(2,2)", stride="(3,3)", pad="(1,1)", pooling_convention="full"),
        "full average, last window in the padding": case(
            (1, 2, 5, 5), kernel="(2,2)", stride="(3,3)", pad="(1,1)", pooling_convention="full", pool_type="avg"
        ),
        "average in 3 dimensions, kernel larger than the input": case(
            (1, 2, 4, 2, 2), kernel="(3,3,3)", pad="(1,1,1)", pool_type="avg"
        ),
        "maximum in 3 dimensions, kernel larger than the input": case((1, 2, 4, 2, 2), kernel="(3,3,3)", pad="(1,1,1)"),
        "average counts padding": case(X, kernel="(3,3)", pad="(1,1)", pool_type="avg"),
        "average without padding": case(X, kernel="(3,3)", pad="(1,1)", pool_type="avg", count_include_pad=False),
        "full average without padding": case(
            X, kernel="(3,3)", stride="(2,2)", pad="(1,1)", pool_type="avg", count_include_pad=False, pooling_convention="full"
        ),
        "sum": case(X, kernel="(2,3)", stride="(2,2)", pool_type="sum"),
        "lp": case(X, kernel="(2,2)", stride="(2,2)", pool_type="lp", p_value=2),
        "global maximum": case(X, kernel="(1,1)", global_pool=True),
        "global average": case(X, global_pool=True, pool_type="avg", pad="(1,1)", kernel="(7,7)"),
        "global sum": case(X, global_pool=True, pool_type="sum", kernel="(1,1)"),
        "one dimension": case((2, 3, 9), kernel="(3,)", stride="(2,)", pad="(1,)", pool_type="avg"),
        "three dimensions": case((1, 2, 5, 6, 7), kernel="(2,3,3)", stride="(2,2,2)", pad="(0,1,1)"),
        "three dimensions, full average": case(
            (1, 2, 5, 6, 7), kernel="(2,3,3)", stride="(2,2,2)", pool_type="avg", pooling_convention="full"
        ),
    },
    "Pooling_v1": {
        "maximum with zeros around": case(X, kernel="(3,3)", stride="(2,2)", pad="(1,1)"),
        "full maximum": case(X, kernel="(2,2)", stride="(2,2)", pooling_convention="full"),
        "full average over the whole kernel": case(X, kernel="(2,2)", stride="(2,2)", pooling_convention="full", pool_type="avg"),
        "average, padded": case(X, kernel="(3,3)", stride="(2,2)", pad="(2,2)", pool_type="avg", only32=True),
        "full sum, last window in the padding": case(
            (1, 2, 5, 5), kernel="(2,2)", stride="(3,3)", pad="(1,1)", pooling_convention="full", pool_type="sum"
        ),
        "global maximum": case(X, kernel="(3,3)", pad="(1,1)", global_pool=True),
        "global average": case(X, kernel="(3,3)", pad="(1,1)", global_pool=True, pool_type="avg", only32=True),
        "global sum": case(X, kernel="(3,3)", global_pool=True, pool_type="sum"),
    },
    "_contrib_AdaptiveAvgPooling2D": {
        "whole map": case(X),
        "uneven windows": case(X, output_size="(3, 2)"),
        "one number": case(X, output_size=4),
    },
    "BatchNorm": {
        "gamma fixed by default": case(X, (4,), (4,), (4,), POSITIVE),
        "gamma used": case(X, (4,), (4,), (4,), POSITIVE, fix_gamma=False, eps="2e-05"),
        "last axis": case((2, 5, 4), (4,), (4,), (4,), POSITIVE, fix_gamma=False, axis=-1),
        "two axes": case((3, 4), (4,), (4,), (4,), POSITIVE, fix_gamma=False, use_global_stats=True),
    },
    "InstanceNorm": {
        "eps 1e-3": case(X, (4,), (4,), only32=True),
        "single values become beta": case((2, 4, 1, 1), (4,), (4,), only32=True),
    },
    "LayerNorm": {"last axis": case(X, (9,), (9,)), "axis 1": case(X, (4,), (4,), axis=1, eps="1e-3")},
    "GroupNorm": {
        "gamma a group": case(X, (2,), (2,), num_groups=2),
        "single values become beta": case((1, 3, 1, 1), (3,), (3,), num_groups=3, eps=1),
    },
    "L2Normalization": {
        "instance": case(X),
        "channel": case(X, mode="channel"),
        "spatial": case(X, mode="spatial", eps="0.1"),
    },
    "LRN": {"five channels": case((2, 9, 4, 4), nsize=5, alpha=0.01, only32=True)},
    "Dropout": {"nothing in evaluation": case(X, p=0.5)},
    "Activation": {
        kind: case(X, act_type=kind) for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    "LeakyReLU": {
        "leaky, slope 0.25": case(X, only32=True),
        "leaky, slope 0.1": case(X, slope=0.1, only32=True),
        "elu": case(X, act_type="elu", only32=True),
        "selu": case(X, act_type="selu", only32=True),
        "gelu": case(X, act_type="gelu", only32=True),
        "prelu a channel": case(X, (4,), act_type="prelu", only32=True),
        "prelu of one": case(X, (1,), act_type="prelu", only32=True),
        "rrelu in evaluation": case(X, act_type="rrelu", only32=True),
    },
    "hard_sigmoid": {"defaults": case(X)},
    "SoftmaxActivation": {"instance": case((3, 5), only32=True), "instance, four axes": case(X, only32=True),
                          "channel": case(X, mode="channel", only32=True)},
    "softmax": {
        "last axis": case(X),
        "in float64": case(X, dtype="float64"),
        "axis 1, temperature": case(X, axis=1, temperature=2.5),
        "lengths": case((2, 3, 4), whole((4, 1, 2), (3, 4, 1)), use_length=True),
        "lengths, axis 1": case((2, 3, 4), whole((3, 1, 2, 3), (1, 2, 3, 0)), use_length=True, axis=1, temperature=0.5),
    },
    "softmin": {"axis 1": case(X, axis=1), "in float64": case(X, dtype="float64")},
    "log_softmax": {"last axis": case(X), "in float64": case(X, dtype="float64")},
    "SoftmaxOutput": {
        "flattens": case((3, 5), numbers(0, 1, 2)),
        "multi_output": case((2, 3, 4), ((2, 4), 0, 2), multi_output=True),
        "preserve_shape": case((2, 3, 4), ((2, 3), 0, 3), preserve_shape=True),
    },
    "LinearRegressionOutput": {"forward": case((3, 4), (3, 4))},
    "MAERegressionOutput": {"forward": case((3, 4), (3, 4))},
    "LogisticRegressionOutput": {"forward": case((3, 4), (3, 4))},
    "SVMOutput": {"forward": case((3, 4), numbers(0, 1, 2))},
    "MakeLoss": {"forward": case((3, 4))},
    "softmax_cross_entropy": {"sum": case((3, 5), numbers(0, 4, 2))},
    "CTCLoss": {
        "blank first": case((6, 2, 5), numbers((1, 2, 0), (3, 3, 4)), only32=True),
        "blank last": case((6, 2, 5), numbers((1, 2, -1), (3, 0, -1)), blank_label="last", only32=True),
    },
    "UpSampling": {
        "nearest": case(X, scale=2, sample_type="nearest", num_args=1),
        "two maps joined": case((1, 2, 4, 4), (1, 3, 2, 2), scale=2, sample_type="nearest", num_args=2),
        "two maps added": case((1, 3, 4, 4), (1, 3, 2, 2), scale=2, sample_type="nearest", num_args=2, multi_input_mode="sum"),
        "bilinear, learned": case(X, (4, 1, 4, 4), scale=2, sample_type="bilinear", num_filter=4, num_args=2),
    },
    "_contrib_BilinearResize2D": {
        "corners aligned": case(X, height=5, width=12),
        "corners not aligned": case(X, height=14, width=5, align_corners=False),
        "factors": case(X, scale_height=1.5, scale_width=0.5, mode="size"),
        "odd_scale": case(X, scale_height=2, scale_width=2, mode="odd_scale"),
        "like": case(X, (1, 1, 5, 3), mode="like"),
        "to one row": case(X, height=1, width=9),
        "to one row, corners not aligned": case(X, height=1, width=5, align_corners=False),
        "to its own size": case((2, 3, 7, 6), height=7, width=6),
        "corners not aligned, whole factors": case((1, 2, 5, 9), height=10, width=3, align_corners=False),
        "a long side": case((1, 1, 13, 37), height=97, width=61),
    },
    "Crop": {
        "size and offset": case(X, num_args=1, h_w="(3, 4)", offset="(2, 1)", only32=True),
        "like, in the middle": case(X, (1, 1, 4, 5), num_args=2, center_crop=True, only32=True),
    },
    "Pad": {
        "constant": case(X, mode="constant", pad_width="(0,0,0,0,2,1,0,3)", constant_value=1.5),
        "edge": case(X, mode="edge", pad_width="(0,0,0,0,2,1,1,3)"),
        "reflect": case(X, mode="reflect", pad_width="(0,0,0,0,2,1,1,3)"),
    },
    "GridGenerator": {"affine": case((2, 6), transform_type="affine", target_shape="(4, 5)", only32=True),
                      "warp": case((2, 2, 4, 5), transform_type="warp", only32=True)},
    "BilinearSampler": {"zeros outside": case(X, ((2, 2, 5, 6), -1.2, 1.2))},
    "RNN": {
        "lstm, two layers, both ways": case((5, 2, 3), (LSTM,), (4, 2, 4), (4, 2, 4), state_size=4, num_layers=2, mode="lstm",
                                            bidirectional=True, only32=True),
        "gru": case((5, 2, 3), (108,), (1, 2, 4), state_size=4, num_layers=1, mode="gru", only32=True),
        "rnn_relu with states": case((5, 2, 3), (36,), (1, 2, 4), state_size=4, num_layers=1, mode="rnn_relu",
                                     state_outputs=True, only32=True),
    },
}  # fmt: skip
