"""Modulated deformable convolution (DCNv2), as in the original's DCNv2_op/example_symbol.py.

One 3x3 convolution gives 27 channels per group: 18 offsets, then 9 masks, which pass 2 * sigmoid, so that zero weights give
masks of 1. It learns at a tenth of the rate. The example has one group and leaves its small nodes unnamed; here the groups'
offsets come before the groups' masks, and the nodes are {name}_offset_t, _mask_t, _mask_sigmoid and _mask.
"""

from typing import Any

import mxnet as mx

Symbol = mx.sym.Symbol
LR_MULT = 0.1
OFFSETS, SAMPLES = 2 * 9, 9  # of one group


def modulated_convolution(
    name: str, data: Symbol, *, channels: int, groups: int, geometry: dict[str, Any], offset_geometry: dict[str, Any]
) -> Symbol:
    """`data` [N, C, H, W] -> [N, channels, OH, OW]. geometry, offset_geometry: kernel, pad, stride, dilate of both."""
    variables = {
        piece: mx.sym.Variable(f"{name}_offset_{piece}", lr_mult=LR_MULT, init=mx.init.Zero())
        for piece in ("weight", "bias")
    }
    guides = mx.sym.Convolution(
        name=f"{name}_offset", data=data, num_filter=(OFFSETS + SAMPLES) * groups, **variables, **offset_geometry
    )
    offset = mx.sym.slice_axis(name=f"{name}_offset_t", data=guides, axis=1, begin=0, end=OFFSETS * groups)
    mask = mx.sym.slice_axis(name=f"{name}_mask_t", data=guides, axis=1, begin=OFFSETS * groups, end=None)
    mask = mx.sym.Activation(name=f"{name}_mask_sigmoid", data=mask, act_type="sigmoid")
    mask = mx.sym._internal._MulScalar(mask, scalar=2.0, name=f"{name}_mask")
    return mx.contrib.sym.ModulatedDeformableConvolution(
        name=name, data=data, offset=offset, mask=mask, num_filter=channels,
        num_deformable_group=groups, no_bias=True, **geometry,
    )  # fmt: skip
