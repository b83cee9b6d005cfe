"""ResNet-v1 in the Caffe layout: stride on the 1x1 convolutions, ceil pooling, res5 dilated at stride 16.

Node, parameter and attribute names are the original's (`rfcn/symbols/resnet_v1_101_rfcn*.py`).
"""

from typing import NamedTuple

import mxnet as mx

from dcn_tasks.network import NetworkSpec

Symbol = mx.sym.Symbol
STAGE_STRIDE = {2: 1, 3: 2, 4: 2, 5: 1}


class Backbone(NamedTuple):
    """res4: the last ReLU of res4 (stride 16), for proposals; res5: the last ReLU of res5, for the heads."""

    res4: Symbol
    res5: Symbol


def resnet(data: Symbol, spec: NetworkSpec) -> Backbone:
    """The backbone of a network on images [1, 3, H, W]."""
    x = mx.sym.Convolution(
        name="conv1", data=data, num_filter=spec.base_width, pad=(3, 3), kernel=(7, 7), stride=(2, 2), no_bias=True
    )
    x = batch_norm("bn_conv1", x, spec)
    x = relu("conv1_relu", x)
    x = mx.sym.Pooling(
        name="pool1", data=x, pooling_convention="full", pad=(0, 0), kernel=(3, 3), stride=(2, 2), pool_type="max"
    )
    last = {}
    for stage in (2, 3, 4, 5):
        for index, unit in enumerate(spec.unit_names(stage)):
            stride = STAGE_STRIDE[stage] if index == 0 else 1
            x = bottleneck(x, unit, spec, stage=stage, stride=stride, project=index == 0)
        last[stage] = x
    return Backbone(last[4], last[5])


def bottleneck(x: Symbol, unit: str, spec: NetworkSpec, *, stage: int, stride: int, project: bool) -> Symbol:
    """1x1 (strided), 3x3 (maybe dilated or deformable), 1x1, added to the input or its projection."""
    width = spec.base_width * 2 ** (stage - 2)
    name = f"res{unit}"
    shortcut = x
    if project:
        shortcut = mx.sym.Convolution(
            name=f"{name}_branch1", data=x, num_filter=4 * width, pad=(0, 0), kernel=(1, 1), stride=(stride, stride), no_bias=True
        )  # fmt: skip
        shortcut = batch_norm(f"bn{unit}_branch1", shortcut, spec)
    y = mx.sym.Convolution(
        name=f"{name}_branch2a", data=x, num_filter=width, pad=(0, 0), kernel=(1, 1), stride=(stride, stride), no_bias=True
    )  # fmt: skip
    y = relu(f"{name}_branch2a_relu", batch_norm(f"bn{unit}_branch2a", y, spec))
    dilation = spec.res5_dilation if stage == 5 else 1
    y = middle_convolution(
        f"{name}_branch2b", y, spec, width=width, dilation=dilation, deformable=name in spec.deform_conv_units
    )
    y = relu(f"{name}_branch2b_relu", batch_norm(f"bn{unit}_branch2b", y, spec))
    y = mx.sym.Convolution(
        name=f"{name}_branch2c", data=y, num_filter=4 * width, pad=(0, 0), kernel=(1, 1), stride=(1, 1), no_bias=True
    )
    y = batch_norm(f"bn{unit}_branch2c", y, spec)
    return relu(f"{name}_relu", mx.sym.broadcast_add(shortcut, y, name=name))


def middle_convolution(
    name: str, x: Symbol, spec: NetworkSpec, *, width: int, dilation: int, deformable: bool
) -> Symbol:
    """The 3x3 convolution of a unit; where deformable, with offsets from a 3x3 convolution of the same input."""
    reach = (dilation, dilation)
    if not deformable:
        dilated = {"dilate": reach, "cudnn_off": True} if dilation > 1 else {}
        return mx.sym.Convolution(
            name=name, data=x, num_filter=width, pad=reach, kernel=(3, 3), stride=(1, 1), no_bias=True, **dilated
        )
    near = spec.offset_dilation or dilation
    offset = mx.sym.Convolution(
        name=f"{name}_offset", data=x, num_filter=2 * 9 * spec.num_deformable_group, pad=(near, near), kernel=(3, 3),
        stride=(1, 1), cudnn_off=True, **({"dilate": (near, near)} if near > 1 else {})
    )  # fmt: skip
    dilated = {"dilate": reach} if dilation > 1 else {}
    return mx.contrib.sym.DeformableConvolution(
        name=name, data=x, offset=offset, num_filter=width, pad=reach, kernel=(3, 3),
        num_deformable_group=spec.num_deformable_group, stride=(1, 1), no_bias=True, **dilated
    )  # fmt: skip


def batch_norm(name: str, x: Symbol, spec: NetworkSpec) -> Symbol:
    return mx.sym.BatchNorm(name=name, data=x, use_global_stats=spec.use_global_stats, fix_gamma=False, eps=1e-5)


def relu(name: str, x: Symbol) -> Symbol:
    return mx.sym.Activation(name=name, data=x, act_type="relu")
