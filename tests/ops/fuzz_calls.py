"""Random calls of every operator: shapes from empty to odd, parameters to their limits, values of any kind, and mistakes."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGEST = 1 << 20  # of stride, padding, dilation
BAD = (math.nan, math.inf, -math.inf, 1e30, -1e30, 3e38, -3e38, 1e-42, 0.5, 2.0**31, -(2.0**31), 2.0**63)
NUMBERS = (0.0, 1.0, 0.1, 1 / 16, -0.5, 1e-30, 1e30, math.nan, math.inf, -math.inf)


@dataclass
class FuzzCall:
    """One call of torch.ops.dcn.<operator>: tensors first, by position, then parameters."""

    operator: str
    tensors: dict[str, Tensor | None]
    positional: tuple = ()
    named: dict[str, Any] = field(default_factory=dict)
    leaves: tuple[str, ...] = ()  # that may have gradients
    bounded: int | None = None  # an image that nothing bad stands in: its results must be finite

    def __str__(self) -> str:
        shapes = {k: None if t is None else (*t.shape, str(t.dtype)[6:]) for k, t in self.tensors.items()}
        return f"{self.operator}: {shapes} {self.positional} {self.named}"


class Draw:
    """Random choices of one case."""

    def __init__(self, case: int) -> None:
        self.rng = np.random.default_rng(case)

    def one(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def often(self, usual: Any, *rare: Any, share: float = 0.9) -> Any:
        return usual if self.rng.random() < share else self.one(*rare)

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype, scale: float = 1.0) -> Tensor:
        t = torch.from_numpy(scale * self.rng.standard_normal(shape)).to(dtype)
        if t.dim() == 4 and self.rng.random() < 0.3:
            t = t.contiguous(memory_format=torch.channels_last)
        if t.dim() > 0 and self.rng.random() < 0.1:
            t = torch.stack([t, t], -1)[..., 0]  # strides that no format has
        return t

    def spoil(self, t: Tensor | None, images: slice | None = None) -> None:
        """Puts a few values of any kind into t[images]."""
        part = t[images or slice(None)] if t is not None and t.dim() > 0 else None
        for _ in range(self.number(1, 5) if part is not None and part.numel() > 0 else 0):
            part[tuple(self.number(0, size - 1) for size in part.shape)] = self.one(*BAD)

    def misshape(self, tensors: dict[str, Tensor | None]) -> None:
        """Now and then, one tensor has one row less or more than it should, or another type."""
        name = self.one(*tensors)
        t = tensors[name]
        if self.rng.random() > 0.05 or t is None or t.dim() == 0:
            return
        axis, how = self.number(0, t.dim() - 1), self.one("less", "more", "type", "flat")
        if how == "less" and t.shape[axis] > 0:
            t = t.narrow(axis, 0, t.shape[axis] - 1)
        elif how == "more":
            t = torch.cat([t, t.narrow(axis, 0, min(1, t.shape[axis]))], axis)
        elif how == "type":
            t = t.to(self.one(torch.float16, torch.bfloat16, torch.float64, torch.int64))
        elif how == "flat":
            t = t.flatten()
        tensors[name] = t


def convolution(draw: Draw) -> FuzzCall:
    dtype = draw.one(torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16)
    groups, offset_groups = draw.often(1, 2, 3, share=0.6), draw.often(1, 2, 4, share=0.5)
    channels = math.lcm(groups, offset_groups) * draw.one(1, 3, 4, 8, 17, 32)
    outputs, images = groups * draw.one(1, 2, 7, 16, 33), draw.often(draw.number(1, 3), 0)
    size, kernel = [draw.often(draw.number(1, 12), 0, 40) for _ in range(2)], [draw.number(1, 4) for _ in range(2)]
    stride, padding, dilation = (
        [draw.often(draw.number(low, 3), *rare, share=0.97) for _ in range(2)]
        for low, rare in ((1, (1000, LARGEST, 0, LARGEST + 1)), (0, (1000, LARGEST, -1)), (1, (1000, LARGEST, 0)))
    )
    out = [0, 0]
    for axis in range(2):  # at most 20 rows and columns of output, whatever the padding
        room = size[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1
        stride[axis] = max(stride[axis], min(room // 20 + 1, LARGEST)) if stride[axis] > 0 else stride[axis]
        out[axis] = room // stride[axis] + 1 if room >= 0 and stride[axis] > 0 else 0
    taps = kernel[0] * kernel[1]
    positions = draw.one(dtype, torch.float32) if dtype.itemsize == 2 else dtype
    tensors = {
        "input": draw.tensor((images, channels, *size), dtype),
        "offset": draw.tensor((images, 2 * offset_groups * taps, *out), positions, draw.one(0.0, 1.0, 30.0)),
        "mask": draw.often(draw.tensor((images, offset_groups * taps, *out), positions), None, share=0.6),
        "weight": draw.tensor((outputs, channels // groups, *kernel), dtype),
        "bias": draw.often(draw.tensor((outputs,), dtype), None, share=0.7),
    }
    leaves = tuple(tensors)
    last = slice(0, max(images - 1, 0))
    spoilt = draw.one(("input", "offset", "mask"), leaves, ())
    for name in spoilt:
        draw.spoil(tensors[name], None if spoilt == leaves else last)
    bounded = images - 1 if spoilt != leaves and images > 0 else None
    draw.misshape(tensors)
    border = draw.often(draw.one("clamp", "zeros"), "wrap", share=0.97)
    return FuzzCall("deform_conv2d", tensors, (stride, padding, dilation, border), {}, leaves, bounded)


def rois_of(draw: Draw, images: int, dtype: torch.dtype) -> Tensor:
    rois = draw.tensor((draw.often(draw.number(1, 6), 0), 5), dtype, draw.one(1.0, 60.0))
    rois = rois.contiguous()
    for row in rois:
        row[0] = draw.often(draw.number(0, max(images - 1, 0)), -1, images, 0.5, math.nan, 1e30, share=0.97)
    if draw.one(True, False):
        draw.spoil(rois[:, 1:])
    return rois


def pooling(draw: Draw) -> FuzzCall:
    operator = draw.one("deform_psroi_pool", "psroi_pool", "roi_pool")
    dtype = draw.often(draw.one(torch.float32, torch.float64), torch.bfloat16)
    images, size = draw.often(draw.number(1, 3), 0), [draw.often(draw.number(1, 12), 0, 70) for _ in range(2)]
    pooled, group = draw.often(draw.number(1, 8), 0, 60, share=0.95), draw.often(draw.number(1, 4), 0, share=0.97)
    classes, per_class = draw.number(1, 3), draw.one(1, 2, 5)
    dim = classes * per_class
    channels = draw.one(1, 5, 64, 70) if operator == "roi_pool" else dim * group**2
    tensors = {"input": draw.tensor((images, channels, *size), dtype), "rois": rois_of(draw, images, dtype)}
    named: dict[str, Any] = {"spatial_scale": draw.often(draw.one(0.0625, 0.3, 1.0), *NUMBERS)}
    if operator == "roi_pool":
        named["pooled_size"] = [pooled, draw.often(pooled, 1, 3)]
    else:
        named.update(output_dim=dim, pooled_size=pooled, group_size=group)
    if operator == "deform_psroi_pool":
        part = draw.often(max(pooled, 1), draw.number(1, 9), share=0.5)
        offset = draw.tensor((len(tensors["rois"]), 2 * classes, part, part), dtype, draw.one(0.5, 5.0))
        tensors["offset"] = draw.often(offset, None, share=0.8)
        named.update(part_size=part, sample_per_part=draw.often(draw.number(1, 4), 0, 40, share=0.95),
                     trans_std=draw.often(0.1, *NUMBERS))  # fmt: skip
    leaves = tuple(name for name in tensors if name != "rois")
    for name in draw.one(leaves, ()):
        draw.spoil(tensors[name])
    draw.misshape(tensors)
    return FuzzCall(operator, tensors, (), named, leaves)


def suppression(draw: Draw) -> FuzzCall:
    dtype, count = draw.often(draw.one(torch.float32, torch.float64), torch.float16), draw.often(draw.number(1, 80), 0)
    tensors = {"boxes": draw.tensor((count, 4), dtype, 30.0), "scores": draw.tensor((count,), dtype)}
    for name in draw.one(("boxes", "scores"), ()):
        draw.spoil(tensors[name])
    draw.misshape(tensors)
    return FuzzCall("nms", tensors, (draw.often(draw.one(0.3, 0.7), *NUMBERS),))


def proposals(draw: Draw) -> FuzzCall:
    dtype = draw.often(draw.one(torch.float32, torch.float64), torch.bfloat16)
    scales, ratios = draw.often([1.0, 4.0], [], [1e30], [-1.0], [math.nan]), draw.often([0.5, 2.0], [], [1e-30], [0.0])
    anchors, post = len(scales) * len(ratios), draw.often(draw.number(1, 20), 0)
    images, size = draw.often(draw.number(1, 2), 0), [draw.often(draw.number(1, 9), 0) for _ in range(2)]
    tensors = {
        "class_prob": draw.tensor((images, 2 * anchors, *size), dtype),
        "bbox_delta": draw.tensor((images, 4 * anchors, *size), dtype, draw.one(0.3, 300.0)),
        "im_info": draw.tensor((images, 3), dtype, 100.0).abs(),
        "padding": draw.often(draw.tensor((images, max(post, 0)), dtype).abs() % 1, None, share=0.5),
    }
    for name in draw.one(tuple(tensors), ()):
        draw.spoil(tensors[name])
    draw.misshape(tensors)
    named = dict(
        feature_stride=draw.often(16, 1, 0, 32769), scales=scales, ratios=ratios, post_nms_top_n=post,
        pre_nms_top_n=draw.often(50, 0, -1, 3), nms_thresh=draw.often(0.7, *NUMBERS),
        min_size=draw.often(4.0, *NUMBERS), cxx_rules=draw.one(True, False),
    )  # fmt: skip
    return FuzzCall("proposal", tensors, (), named)


FAMILIES = {"convolution": convolution, "pooling": pooling, "suppression": suppression, "proposals": proposals}


def fuzz_call(family: str, case: int) -> FuzzCall:
    return FAMILIES[family](Draw(case))
