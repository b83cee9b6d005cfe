"""Aligned-Inception-ResNet of the paper's appendix B, with a dilated res5 at stride 16 for detection.

The original's code has no such network. Sources: [paper] arXiv 1703.06211 appendix B, in words; its figure 8 could not be
read, so the table of branches is [air]: soeaver/caffe-model, cls/air/deploy_air101.prototxt, a re-implementation whose count
of parameters is the paper's 64.3 M. Names follow the Caffe ResNet's; docs/reference.md lists them.

    stem     7x7/2, 64 channels, pad 3; 3x3/2 max pooling with pad 1 [paper: proper padding everywhere; air: pad 1]
    units    3, 4, 23, 3 of widths p = 64, 128, 256, 512 [air; paper: one module, repeated]
    branch2  1x1 p, 3x3 p                       [air]
    branch3  1x1 p/2, 3x3 p/2, 3x3 p/2          [air]
    concat   both, 3p/2 channels; one BatchNorm and ReLU on them [air]
    merge    1x1 to 4p channels with BatchNorm, added to the shortcut, ReLU [air]
    branch1  1x1 projection in the first unit of a stage [paper: stride 2 where the number of channels changes; air: conv2 too]
    stride   on the first 3x3 of both branches and on the projection [paper fixes the projection only; air]
    res5     stride 1, dilation 2 of every 3x3 in detection [paper: as ResNet-101]
    deformable: by default the last three 3x3 convolutions, those of the last unit [paper, read literally]; all nine of res5
             with network.DEFORM_CONV_UNITS: [res5a, res5b, res5c], as ResNet-101's three units. Every one has offsets of its
             own, from a 3x3 convolution of its input with its stride and dilation [the original's ResNet].
"""

import mxnet as mx

from dcn_tasks.network import NetworkSpec
from mxnet_ref.backbone.dialect import dialect_of
from mxnet_ref.backbone.modulation import modulated_convolution
from mxnet_ref.backbone.resnet import Backbone, batch_norm, relu

Symbol = mx.sym.Symbol
BRANCHES = {"branch2": ("a", "b"), "branch3": ("a", "b", "c")}  # letters of the convolutions; the first is 1x1


def aligned_inception_resnet(data: Symbol, spec: NetworkSpec) -> Backbone:
    """The backbone of a network on images [1, 3, H, W]; strides 4, 8, 16 and 16."""
    x = mx.sym.Convolution(
        name="conv1", data=data, num_filter=spec.base_width, pad=(3, 3), kernel=(7, 7), stride=(2, 2), no_bias=True
    )
    x = relu("conv1_relu", batch_norm("bn_conv1", x, spec))
    x = mx.sym.Pooling(name="pool1", data=x, pad=(1, 1), kernel=(3, 3), stride=(2, 2), pool_type="max")
    strides = {2: 1, 3: 2, 4: 2, 5: dialect_of(spec.family).res5_stride}
    last = []
    for stage, stride in strides.items():
        for index, unit in enumerate(spec.unit_names(stage)):
            x = inception_unit(x, unit, spec, stage=stage, stride=stride if index == 0 else 1, project=index == 0)
        last.append(x)
    return Backbone(*last)


def inception_unit(x: Symbol, unit: str, spec: NetworkSpec, *, stage: int, stride: int, project: bool) -> Symbol:
    """Two branches of 1x1 and 3x3 convolutions side by side, merged by a 1x1, added to the input or its projection."""
    width = spec.base_width * 2 ** (stage - 2)
    name = f"res{unit}"
    identity = x
    if project:
        identity = mx.sym.Convolution(
            name=f"{name}_branch1", data=x, num_filter=4 * width, kernel=(1, 1), stride=(stride, stride), no_bias=True
        )
        identity = batch_norm(f"bn{unit}_branch1", identity, spec)
    branches = [
        inception_branch(x, unit, branch, spec, channels=channels, stage=stage, stride=stride)
        for branch, channels in (("branch2", width), ("branch3", width // 2))
    ]
    y = mx.sym.Concat(*branches, dim=1, name=f"{name}_concat")
    y = relu(f"{name}_concat_relu", batch_norm(f"bn{unit}_concat", y, spec))
    y = mx.sym.Convolution(name=f"{name}_merge", data=y, num_filter=4 * width, kernel=(1, 1), no_bias=True)
    y = batch_norm(f"bn{unit}_merge", y, spec)
    return relu(f"{name}_relu", mx.sym.broadcast_add(identity, y, name=name))


def inception_branch(
    x: Symbol, unit: str, branch: str, spec: NetworkSpec, *, channels: int, stage: int, stride: int
) -> Symbol:
    """1x1, then one or two 3x3 convolutions, the first of them strided; BatchNorm and ReLU between them, not at the end."""
    first, *others = BRANCHES[branch]
    x = mx.sym.Convolution(name=f"res{unit}_{branch}{first}", data=x, num_filter=channels, kernel=(1, 1), no_bias=True)
    for place, letter in enumerate(others):
        before = f"{unit}_{branch}{BRANCHES[branch][place]}"
        x = relu(f"res{before}_relu", batch_norm(f"bn{before}", x, spec))
        x = convolution_3x3(
            f"res{unit}_{branch}{letter}", x, spec, channels=channels, stage=stage, stride=stride if place == 0 else 1
        )
    return x


def convolution_3x3(name: str, x: Symbol, spec: NetworkSpec, *, channels: int, stage: int, stride: int) -> Symbol:
    """A 3x3 convolution of a unit, plain or deformable."""
    dilation = spec.dilation(stage)
    geometry = {
        "pad": (dilation, dilation),
        "kernel": (3, 3),
        "stride": (stride, stride),
        "dilate": (dilation, dilation),
    }
    if name not in spec.deformable_convolutions:
        return mx.sym.Convolution(name=name, data=x, num_filter=channels, no_bias=True, **geometry)
    near = spec.dilation_of_offsets(stage)
    offset_geometry = {**geometry, "pad": (near, near), "dilate": (near, near)}
    if spec.modulated_conv:
        return modulated_convolution(
            name, x, channels=channels, groups=spec.num_deformable_group,
            geometry=geometry, offset_geometry=offset_geometry,
        )  # fmt: skip
    offset = mx.sym.Convolution(
        name=f"{name}_offset", data=x, num_filter=2 * 9 * spec.num_deformable_group, **offset_geometry
    )
    return mx.contrib.sym.DeformableConvolution(
        name=name, data=x, offset=offset, num_filter=channels,
        num_deformable_group=spec.num_deformable_group, no_bias=True, **geometry,
    )  # fmt: skip
