"""Whole numbers of 8 bits: made from real ones, convolved, pooled, joined and made real again."""

import numpy as np

from tests.convert_any.cases.case import Case, case, numbers
from tests.convert_any.small_graph import Builder

HALVES = numbers(-3.0, -2.5, -1.5, -0.5, -0.25, 0.0, 0.5, 1.5, 2.5, 2.51, 126.5, 127.4, 300.0) / 127.5
MAP = (2, 6, 7, 9)
LOW, HIGH = numbers(-1.5), numbers(1.25)
ZERO, WIDE = numbers(0.0), numbers(2.0)
POSITIVE = ((5,), 0.5, 1.5)


def bytes_of(*shape: int, signed: bool = False, seed: int = 3) -> np.ndarray:
    """Whole numbers of the whole type, its ends among them."""
    ends = np.iinfo(np.int8 if signed else np.uint8)
    drawn = np.random.default_rng(seed).integers(ends.min, ends.max, shape, endpoint=True).astype(ends.dtype)
    drawn.flat[:2] = ends.min, ends.max
    return drawn


def inner_conv(channels: int, bias: bool, norm: bool, added: bool, relu: bool, **attrs: object) -> tuple[dict, dict]:
    """The inner graph of a fused 3x3 convolution with the parts asked for, and the flags that name them."""
    inner = Builder()
    names = ["data", "weight", *(["bias"] if bias else [])]
    last = inner.call("Convolution", "conv", *[inner.variable(name) for name in names], kernel="(3, 3)",
                      num_filter=channels, no_bias=not bias, **attrs)  # fmt: skip
    if norm:
        states = [inner.variable(name) for name in ("gamma", "beta", "moving_mean", "moving_var")]
        last = inner.call("BatchNorm", "norm", last, *states, aux=2, fix_gamma=False, eps="1e-05")
    if added:
        last = inner.call("elemwise_add", "sum", last, inner.variable("other"))
    if relu:
        last = inner.call("Activation", "relu", last, act_type="relu")
    places = [place for place, node in enumerate(inner.nodes) if node["op"] == "null"]
    flags = {"with_bn": norm, "with_sum": added, "with_postsum_act" if added else "with_act": relu}
    graph = {"nodes": inner.nodes, "arg_nodes": places, "heads": [[last, 0, 0]]}
    return graph, {key: "true" for key, value in flags.items() if value}


def conv(
    data: np.ndarray,
    channels: int = 5,
    *,
    groups: int = 1,
    bias: bool = False,
    norm: bool = False,
    added: np.ndarray | None = None,
    relu: bool = False,
    real: bool = False,
    high: float = 60.0,
    **attrs: object,
) -> Case:
    """A fused 3x3 convolution of `data` (whole numbers unless `real`), with the parts asked for."""
    inner, given = inner_conv(channels, bias, norm, added is not None, relu, num_group=groups, **attrs)
    inputs: list = [data, (channels, data.shape[1] // groups, 3, 3), *([(channels,)] if bias else [])]
    aux = (len(inputs) + 2, len(inputs) + 3) if norm else ()
    inputs += [(channels,), (channels,), (channels,), ((channels,), 0.5, 1.5)] if norm else []
    inputs += [] if added is None else [added]
    if real:
        return case(*inputs, only32=True, inner=inner, aux=aux, **given)
    for each in (data,) if added is None else (data, added):
        inputs += [ZERO, WIDE] if each.dtype == np.uint8 else [LOW, HIGH]
    calibrated = {"quantized": "true", "min_calib_range": 0.0 if relu else -high, "max_calib_range": high}
    return case(*inputs, only32=True, inner=inner, aux=aux, **given, **calibrated)


def linear(relu: bool) -> Case:
    inner = Builder()
    last = inner.call(
        "FullyConnected", "fc", *[inner.variable(name) for name in ("data", "weight", "bias")], num_hidden=5
    )
    last = inner.call("Activation", "relu", last, act_type="relu") if relu else last
    graph = {"nodes": inner.nodes, "arg_nodes": [0, 1, 2], "heads": [[last, 0, 0]]}
    return case((3, 2, 4), (5, 8), (5,), only32=True, inner=graph, **({"with_eltwise": "True"} if relu else {}))


SUM = (2, 5, 7, 9)
REAL = np.random.default_rng(5).standard_normal(MAP).astype(np.float32)
CASES = {
    "_contrib_quantize_v2": {
        "halves to even, cut at the ends": case(HALVES, min_calib_range=-1.0, max_calib_range=1.0, only32=True),
        "auto, from 0: uint8": case(HALVES, out_type="auto", min_calib_range=0.0, max_calib_range=1.0, only32=True),
        "auto, from below 0: int8": case((3, 4), out_type="auto", min_calib_range=-1.5, max_calib_range=2.5, only32=True),
        "without calibration": case((3, 4), out_type="auto", only32=True),
        "uint8 without calibration": case((3, 4), out_type="uint8", only32=True),
    },
    "_contrib_dequantize": {
        "int8": case(bytes_of(3, 200, signed=True), LOW, HIGH, only32=True),
        "uint8": case(bytes_of(3, 200), ZERO, WIDE, only32=True),
    },
    "_contrib_quantized_pooling": {
        "maximum": case(bytes_of(*MAP, signed=True), LOW, HIGH, kernel="(3, 3)", stride="(2, 2)", pad="(1, 1)", only32=True),
        "maximum, full": case(bytes_of(*MAP), ZERO, WIDE, kernel="(2, 2)", stride="(2, 2)", pooling_convention="full",
                              only32=True),
        "average": case(bytes_of(*MAP), ZERO, WIDE, kernel="(3, 3)", stride="(2, 2)", pool_type="avg", only32=True),
        "average counts padding": case(bytes_of(*MAP), ZERO, WIDE, kernel="(3, 3)", pad="(1, 1)", pool_type="avg", only32=True),
        "average without padding": case(bytes_of(*MAP), ZERO, WIDE, kernel="(3, 3)", pad="(1, 1)", pool_type="avg",
                                        count_include_pad=False, only32=True),
        "average of int8": case(bytes_of(*MAP, signed=True), LOW, HIGH, kernel="(2, 2)", pool_type="avg", only32=True),
        "global average": case(bytes_of(*MAP), ZERO, WIDE, global_pool=True, pool_type="avg", kernel="(1, 1)", only32=True),
        "full average": case(bytes_of(*MAP), ZERO, WIDE, kernel="(3, 3)", stride="(2, 2)", pool_type="avg",
                             pooling_convention="full", count_include_pad=False, only32=True),
    },
    "_contrib_quantized_concat": {
        "ranges brought together": case(bytes_of(*MAP), bytes_of(*MAP, seed=4), ZERO, WIDE, ZERO, HIGH, num_args=2, dim=1,
                                        only32=True),
        "int8 and uint8": case(bytes_of(*MAP, signed=True), bytes_of(*MAP), LOW, HIGH, ZERO, WIDE, num_args=2, dim=1,
                               only32=True),
    },
    "_sg_mkldnn_conv": {
        "real, BatchNorm, sum, ReLU": conv(REAL, norm=True, added=np.ones((2, 5, 5, 7), np.float32), relu=True, real=True),
        "real, bias": conv(REAL, bias=True, real=True),
        "uint8, bias": conv(bytes_of(*MAP), bias=True, pad="(1, 1)"),
        "uint8, bias, ReLU": conv(bytes_of(*MAP), bias=True, relu=True, stride="(2, 2)"),
        "int8, BatchNorm, ReLU": conv(bytes_of(*MAP, signed=True), norm=True, relu=True, pad="(1, 1)"),
        "uint8, bias, BatchNorm": conv(bytes_of(*MAP), bias=True, norm=True),
        "sum of int8, cut at 127": conv(bytes_of(*MAP), norm=True, relu=True, added=bytes_of(*SUM, signed=True), pad="(1, 1)",
                                        high=8.0),
        "sum of uint8": conv(bytes_of(*MAP), norm=True, relu=True, added=bytes_of(*SUM), pad="(1, 1)", high=8.0),
        "groups, dilated": conv(bytes_of(*MAP), 4, groups=2, bias=True, dilate="(2, 2)"),
        "one channel a group": conv(bytes_of(*MAP), 6, groups=6, norm=True, relu=True, pad="(1, 1)"),
    },
    "_sg_mkldnn_fully_connected": {"ReLU": linear(True), "alone": linear(False)},
}  # fmt: skip
