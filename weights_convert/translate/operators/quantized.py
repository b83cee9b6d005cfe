"""Whole numbers of 8 bits that stand for a range of real ones, by the rules of MXNet's CPU (oneDNN)."""

import torch
from torch import Tensor

from weights_convert.translate.operators.pooling import lowest_number, max_pool, window_sums
from weights_convert.translate.registry import Single, operator

REACH = {
    torch.int8: 127.5,
    torch.uint8: 255.5,
}  # what the largest real number stands for; halves round to even, then are cut


def quantize_scale(low: Tensor, high: Tensor, dtype: torch.dtype) -> Tensor:
    """Whole numbers per unit, in float32; of the range 0 the largest that int32 has."""
    reach = torch.maximum(low.float().abs(), high.float().abs())
    whole = torch.full_like(reach, REACH[dtype])  # number / tensor is two roundings in PyTorch
    return torch.where(reach == 0, 2.0**31, whole / reach)


def to_whole(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounded half to even and cut to the type's ends."""
    ends = torch.iinfo(dtype)
    return values.double().round().clamp(ends.min, ends.max).to(dtype)


@operator("_contrib_quantize_v2", outputs=3)
def quantize_v2(
    data: Tensor,
    *,
    out_type: str = "int8",
    min_calib_range: Single | None = None,
    max_calib_range: Single | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Whole numbers in int8 or uint8 (auto: uint8 where the calibrated range begins at 0), and the range they stand for."""
    calibrated = min_calib_range is not None and max_calib_range is not None
    if calibrated:
        low, high = (data.new_full((1,), each, dtype=torch.float32) for each in (min_calib_range, max_calib_range))
    else:
        low, high = (each.reshape(1) for each in torch.aminmax(data))
    unsigned = out_type == "uint8" or (out_type == "auto" and calibrated and min_calib_range >= 0)
    dtype = torch.uint8 if unsigned else torch.int8
    whole = to_whole(data.float() * quantize_scale(low, high, dtype), dtype)
    if not unsigned:
        high = torch.maximum(low.abs(), high.abs())
        low = -high
    return whole, low.to(data.dtype), high.to(data.dtype)


@operator("_contrib_dequantize")
def dequantize(data: Tensor, min_range: Tensor, max_range: Tensor, *, out_type: str = "float32") -> Tensor:
    """Real numbers of whole ones: computed in float32, given in the type of the range."""
    reach = torch.maximum(min_range.float().abs(), max_range.float().abs())
    return (data.float() * (reach / REACH[data.dtype])).to(min_range.dtype)


@operator("_contrib_quantized_pooling", outputs=3)
def quantized_pooling(
    data: Tensor,
    min_data: Tensor,
    max_data: Tensor,
    *,
    kernel: tuple[int, ...] = (),
    pool_type: str = "max",
    global_pool: bool = False,
    pooling_convention: str = "valid",
    stride: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    p_value: int | None = None,
    count_include_pad: bool | None = None,
    layout: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """max or avg Pooling of whole numbers, means rounded half to even; the range stays."""
    if global_pool:
        kernel, stride, pad = tuple(data.shape[2:]), (), ()
    stride, pad = tuple(stride) or (1,) * len(kernel), tuple(pad) or (0,) * len(kernel)
    full = pooling_convention == "full" and not global_pool
    if pool_type == "max":
        maps = data.float()
        return max_pool(maps, kernel, stride, pad, full, lowest_number(maps)).to(data.dtype), min_data, max_data
    total, inside, with_padding = window_sums(data.float(), kernel, stride, pad, full)
    count = inside if count_include_pad is False else with_padding
    return to_whole(total * count.clamp(min=1).reciprocal(), data.dtype), min_data, max_data


@operator("_contrib_quantized_concat", outputs=3)
def quantized_concat(*data: Tensor, dim: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Whole numbers joined along an axis, brought to the widest of their ranges (which follow them: low, high of each)."""
    count = len(data) // 3
    arrays, lows, highs = data[:count], data[count::2], data[count + 1 :: 2]
    low = torch.cat([*lows, torch.zeros_like(lows[0])]).amin(0, keepdim=True)
    high = torch.cat([*highs, torch.zeros_like(highs[0])]).amax(0, keepdim=True)
    dtype = torch.int8 if any(each.dtype == torch.int8 for each in arrays) else torch.uint8
    scale = quantize_scale(low, high, dtype)
    scaled = [
        to_whole(each.float() * (scale / quantize_scale(*own, each.dtype)), dtype)
        for each, *own in zip(arrays, lows, highs, strict=True)
    ]
    return torch.cat(scaled, dim), low, high
