"""ResNet-v1 in the Caffe layout: stride on the 1x1 convolutions, ceil pooling; res5 dilated at stride 16, or at stride 32.
For torchvision's weights (ours) also with the stride on the 3x3 convolutions and a padded pooling.

Node, parameter and attribute names are the original's (`*/symbols/resnet_v1_101_*.py`).
"""

from typing import Any, NamedTuple

import mxnet as mx

from dcn_tasks.network import NetworkSpec
from mxnet_ref.backbone.dialect import Dialect, dialect_of
from mxnet_ref.backbone.modulation import modulated_convolution

Symbol = mx.sym.Symbol


class Backbone(NamedTuple):
    """The last ReLU of every stage, at strides 4, 8, 16, and 16 or 32 (FPN)."""

    res2: Symbol
    res3: Symbol
    res4: Symbol
    res5: Symbol


def resnet(data: Symbol, spec: NetworkSpec) -> Backbone:
    """The backbone of a network on images [1, 3, H, W]."""
    x = mx.sym.Convolution(
        name="conv1", data=data, num_filter=spec.base_width, pad=(3, 3), kernel=(7, 7), stride=(2, 2), no_bias=True
    )
    x = batch_norm("bn_conv1", x, spec)
    x = relu("conv1_relu", x)
    rounding = {"pad": (1, 1)} if spec.stride_on_3x3 else {"pooling_convention": "full", "pad": (0, 0)}
    x = mx.sym.Pooling(name="pool1", data=x, kernel=(3, 3), stride=(2, 2), pool_type="max", **rounding)
    dialect = dialect_of(spec.family)
    strides = {2: 1, 3: 2, 4: 2, 5: dialect.res5_stride}
    last = []
    for stage, stride in strides.items():
        for index, unit in enumerate(spec.unit_names(stage)):
            x = bottleneck(x, unit, spec, dialect, stage=stage, stride=stride if index == 0 else 1, project=index == 0)
        last.append(x)
    return Backbone(*last)


def bottleneck(
    x: Symbol, unit: str, spec: NetworkSpec, dialect: Dialect, *, stage: int, stride: int, project: bool
) -> Symbol:
    """1x1 (strided), 3x3 (maybe dilated or deformable), 1x1, added to the input or its projection."""
    width = spec.base_width * 2 ** (stage - 2)
    name = f"res{unit}"
    first, middle = (1, stride) if spec.stride_on_3x3 else (stride, 1)

    def shortcut() -> Symbol:
        if not project:
            return x
        projection = mx.sym.Convolution(
            name=f"{name}_branch1", data=x, num_filter=4 * width, pad=(0, 0), kernel=(1, 1), stride=(stride, stride), no_bias=True
        )  # fmt: skip
        return batch_norm(f"bn{unit}_branch1", projection, spec)

    def branch() -> Symbol:
        y = mx.sym.Convolution(
            name=f"{name}_branch2a", data=x, num_filter=width, pad=(0, 0), kernel=(1, 1), stride=(first, first), no_bias=True
        )  # fmt: skip
        y = relu(f"{name}_branch2a_relu", batch_norm(f"bn{unit}_branch2a", y, spec))
        if name in spec.deform_conv_units:
            y = deformable_convolution(
                f"{name}_branch2b", y, spec, dialect, width=width, stage=stage, stride=middle, first=project
            )
        else:
            y = middle_convolution(f"{name}_branch2b", y, spec, dialect, width=width, stage=stage, stride=middle)
        y = relu(f"{name}_branch2b_relu", batch_norm(f"bn{unit}_branch2b", y, spec))
        y = mx.sym.Convolution(
            name=f"{name}_branch2c",
            data=y,
            num_filter=4 * width,
            pad=(0, 0),
            kernel=(1, 1),
            stride=(1, 1),
            no_bias=True,
        )
        return batch_norm(f"bn{unit}_branch2c", y, spec)

    if stage == 5 and dialect.shortcut_last:
        y = branch()
        identity = shortcut()
    else:
        identity = shortcut()
        y = branch()
    return relu(f"{name}_relu", mx.sym.broadcast_add(identity, y, name=name))


def written_dilation(dilation: int, dialect: Dialect, stage: int) -> dict[str, Any]:
    """The `dilate` attribute, where the original has one."""
    written = dilation > 1 or (stage == 5 and dialect.writes_res5_dilation)
    return {"dilate": (dilation, dilation)} if written else {}


def middle_convolution(
    name: str, x: Symbol, spec: NetworkSpec, dialect: Dialect, *, width: int, stage: int, stride: int
) -> Symbol:
    """The 3x3 convolution of a unit."""
    dilation = spec.dilation(stage)
    more = written_dilation(dilation, dialect, stage)
    if dilation > 1 and dialect.dilated_cudnn_off:
        more["cudnn_off"] = True
    return mx.sym.Convolution(
        name=name,
        data=x,
        num_filter=width,
        pad=(dilation, dilation),
        kernel=(3, 3),
        stride=(stride, stride),
        no_bias=True,
        **more,
    )


def deformable_convolution(
    name: str, x: Symbol, spec: NetworkSpec, dialect: Dialect, *, width: int, stage: int, stride: int, first: bool
) -> Symbol:
    """The 3x3 convolution of a deformable unit, with offsets from a 3x3 convolution of the same input.

    Args: first: of its stage.
    """
    dilation = spec.dilation(stage)
    near = spec.dilation_of_offsets(stage)
    if spec.modulated_conv:
        geometry, near_geometry = (
            {"kernel": (3, 3), "pad": (reach, reach), "stride": (stride, stride), "dilate": (reach, reach)}
            for reach in (dilation, near)
        )
        return modulated_convolution(
            name, x, channels=width, groups=spec.num_deformable_group, geometry=geometry, offset_geometry=near_geometry
        )
    more = written_dilation(near, dialect, stage)
    if dialect.offset_cudnn_off:
        more["cudnn_off"] = True
    if dialect.offset_variables:
        more["weight"] = mx.sym.Variable(f"{name}_offset_weight", lr_mult=1.0)
        more["bias"] = mx.sym.Variable(f"{name}_offset_bias", lr_mult=2.0)
    written = {"stride": (stride, stride)}  # FPN's file leaves it out in res5, but for its first deformable convolution
    short = stage == 5 and dialect.writes_res5_dilation and stride == 1
    offset = mx.sym.Convolution(
        name=f"{name}_offset", data=x, num_filter=2 * 9 * spec.num_deformable_group, pad=(near, near), kernel=(3, 3),
        **({} if short else written), **more
    )  # fmt: skip
    if short and not first:
        written = {}
    return mx.contrib.sym.DeformableConvolution(
        name=name, data=x, offset=offset, num_filter=width, pad=(dilation, dilation), kernel=(3, 3),
        num_deformable_group=spec.num_deformable_group, no_bias=True, **written, **written_dilation(dilation, dialect, stage)
    )  # fmt: skip


def batch_norm(name: str, x: Symbol, spec: NetworkSpec) -> Symbol:
    return mx.sym.BatchNorm(name=name, data=x, use_global_stats=spec.use_global_stats, fix_gamma=False, eps=1e-5)


def relu(name: str, x: Symbol) -> Symbol:
    return mx.sym.Activation(name=name, data=x, act_type="relu")
