"""Convolution and FullyConnected with what oneDNN's backend of MXNet fuses behind them, in float32 or whole numbers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.operators.activation import activation
from weights_convert.translate.operators.dense import convolution, fully_connected
from weights_convert.translate.operators.quantized import quantize_scale, to_whole
from weights_convert.translate.registry import Single, operator

RELU_NAMES = {"with_relu": "with_act", "with_postsum_relu": "with_postsum_act"}  # before MXNet 1.6


def folded(
    weight: Tensor, bias: Tensor | None, norm: tuple[Tensor, ...], eps: float, fix_gamma: bool
) -> tuple[Tensor, Tensor]:
    """Weight and bias with the BatchNorm behind them; MXNet rounds the factor once, from float64, to the weight's type."""
    gamma, beta, mean, variance = norm
    above = torch.ones_like(gamma) if fix_gamma else gamma
    factor = (above.double() / (variance.double() + eps).sqrt()).to(weight.dtype)
    shift = beta - factor * mean if bias is None else beta + factor * (bias - mean)
    return weight * factor.reshape(-1, *[1] * (weight.dim() - 1)), shift


def weight_scales(weight: Tensor, bias: Tensor | None, data_scale: Tensor) -> Tensor:
    """Whole numbers per unit of each output channel; small enough that the bias stays below 2^30."""
    reach = weight.flatten(1).abs().amax(1)
    scales = quantize_scale(-reach, reach, torch.int8)
    if bias is None:
        return scales
    most = torch.copysign(torch.full_like(bias, 2.0**30), bias) / bias / data_scale
    return torch.where(bias == 0, scales, torch.minimum(scales, most))


def whole_number_convolution(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    added: Tensor | None,
    ranges: tuple[Tensor, ...],
    out_range: tuple[Tensor, Tensor],
    geometry: tuple,
    relu: bool,
) -> Tensor:
    """oneDNN's int8 convolution: sums of products are whole numbers, scaled in float32, rounded half to even, cut to the type.

    ranges: of data, and of `added` behind them.
    """
    data_scale = quantize_scale(ranges[0], ranges[1], data.dtype)
    scales = weight_scales(weight, bias, data_scale)
    per_channel = (1, -1, *[1] * (data.dim() - 2))
    # MXNet scales the weights of group g by channel g's scale: right for one group, and for one channel a group
    groups = geometry[-1]
    own = scales if groups == 1 else scales[:groups].repeat_interleave(weight.shape[0] // groups)
    taps = to_whole(weight * own.reshape(-1, *[1] * (weight.dim() - 1)), torch.int8)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[data.dim() - 3]
    result = convolve(data.double(), taps.double(), None, *geometry).float()  # float64 sums of whole numbers are exact
    if bias is not None:
        result = result + to_whole(bias * (scales * data_scale), torch.int32).float().reshape(per_channel)
    out_type = torch.uint8 if relu else torch.int8
    out_scale = quantize_scale(*out_range, out_type)
    result = result * (out_scale / data_scale / scales).reshape(per_channel)
    if added is not None:  # one rounding of the product and the sum
        added_scale = out_scale / quantize_scale(ranges[2], ranges[3], added.dtype)
        result = (result.double() + added.double() * added_scale.double()).float()
    result = to_whole(F.relu(result) if relu else result, out_type)
    # the sum is made in place, in the type of what is added
    return result.clamp(max=127) if added is not None and added.dtype == torch.int8 else result


def told_apart(
    given: tuple[Tensor, ...], no_bias: bool, with_bn: bool, with_sum: bool
) -> tuple[Tensor | None, tuple[Tensor, ...], Tensor | None, tuple[Tensor, ...]]:
    """What a fused convolution reads behind data and weight: bias, (gamma, beta, mean, variance), what is added, ranges."""
    rest = list(given)
    bias = None if no_bias else rest.pop(0)
    norm = tuple(rest.pop(0) for _ in range(4)) if with_bn else ()
    added = rest.pop(0) if with_sum else None
    return bias, norm, added, tuple(rest)


@operator("_sg_mkldnn_conv", outputs=lambda values: 3 if values["quantized"] else 1, spelling=RELU_NAMES)
def sg_mkldnn_conv(
    data: Tensor,
    weight: Tensor,
    *parameters: Tensor,
    kernel: tuple[int, ...],
    num_filter: int,
    stride: tuple[int, ...] = (),
    dilate: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    num_group: int = 1,
    no_bias: bool = False,
    layout: str | None = None,
    eps: float = 1e-3,
    fix_gamma: bool = True,
    act_type: str = "relu",
    with_bn: bool = False,
    with_act: bool = False,
    with_sum: bool = False,
    with_postsum_act: bool = False,
    quantized: bool = False,
    min_calib_range: Single | None = None,
    max_calib_range: Single | None = None,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Convolution, BatchNorm, sum, ReLU in one; quantized: of whole numbers, with the ranges they stand for.

    parameters: bias, gamma, beta, mean, variance, what is added, and the ranges (low, high) of data and of what is added,
    each where there is one.
    """
    bias, norm, added, ranges = told_apart(parameters, no_bias, with_bn, with_sum)
    relu = with_postsum_act or (with_act and not with_sum)
    if not quantized:
        if norm:
            weight, bias = folded(weight, bias, norm, eps, fix_gamma)
        result = convolution(data, weight, bias, kernel=kernel, num_filter=num_filter, stride=stride, dilate=dilate,
                             pad=pad, num_group=num_group, no_bias=bias is None, layout=layout)  # fmt: skip
        result = activation(result, act_type=act_type) if with_act else result
        result = result if added is None else result + added
        return activation(result, act_type=act_type) if with_postsum_act else result
    if min_calib_range is None or max_calib_range is None or act_type != "relu" or (with_act and with_sum):
        raise ValueError("_sg_mkldnn_conv of whole numbers: expected a calibrated range and ReLU as the last step")
    low, high = (weight.new_full((1,), each) for each in (min_calib_range, max_calib_range))
    weight, bias, *norm = (
        None if each is None else each.float() for each in (weight, bias, *norm)
    )  # MXNet's only type
    if norm:
        weight, bias = folded(weight, bias, tuple(norm), eps, fix_gamma)
    axes = len(kernel)
    geometry = (tuple(stride) or (1,) * axes, tuple(pad) or (0,) * axes, tuple(dilate) or (1,) * axes, num_group)
    made = whole_number_convolution(data, weight, bias, added, ranges, (low, high), geometry, relu)
    return made, low, high


@operator("_sg_mkldnn_fully_connected", spelling={"with_relu": "with_eltwise"})
def sg_mkldnn_fully_connected(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    num_hidden: int,
    no_bias: bool = False,
    flatten: bool = True,
    with_eltwise: bool = False,
    act_type: str = "relu",
) -> Tensor:
    """FullyConnected and an Activation in one, in float32."""
    made = fully_connected(data, weight, bias, num_hidden=num_hidden, no_bias=no_bias, flatten=flatten)
    return activation(made, act_type=act_type) if with_eltwise else made
