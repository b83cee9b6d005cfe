"""The DeepLab head: class scores at stride 16, upsampled by a fixed bilinear Deconvolution, with the original's node names."""

import mxnet as mx

from dcn_tasks.network import NetworkSpec
from dcn_tasks.segmentation import IGNORED_LABEL

Symbol = mx.sym.Symbol
WORKSPACE_MIB = 4096  # a limit for cuDNN; the original gives it to every layer of its head
UPSAMPLING = 16  # the stride of the features
CROP = 8  # image pixels: half a cell, by which the Deconvolution without padding is too large at every side


def deeplab_train(feature: Symbol, data: Symbol, label: Symbol, spec: NetworkSpec, dtype: str) -> Symbol:
    """The training graph's output: softmax [1, C, H, W]; label [1, 1, H, W] holds classes, 255 is ignored."""
    return softmax(scores(feature, data, spec, dtype), label=label)


def deeplab_test(feature: Symbol, data: Symbol, spec: NetworkSpec, dtype: str) -> Symbol:
    """The test graph's output: softmax [1, C, H, W]. As in the original it is SoftmaxOutput with a label that nobody reads."""
    return softmax(scores(feature, data, spec, dtype))


def softmax(data: Symbol, **label: Symbol) -> Symbol:
    return mx.sym.SoftmaxOutput(
        name="softmax", data=data, **label, normalization="valid", multi_output=True, use_ignore=True, ignore_label=IGNORED_LABEL
    )  # fmt: skip


def scores(feature: Symbol, data: Symbol, spec: NetworkSpec, dtype: str) -> Symbol:
    """croped_score (the original's spelling) [1, C, H, W]: logits at the size of `data`."""
    x = rated_convolution("fc6", feature, spec.head_width)
    x = mx.sym.Activation(name="relu_fc6", data=x, act_type="relu")
    x = rated_convolution("score", x, spec.num_classes)
    x = mx.sym.Deconvolution(
        name="upsampling", data=x, num_filter=spec.num_classes, kernel=(2 * UPSAMPLING, 2 * UPSAMPLING),
        stride=(UPSAMPLING, UPSAMPLING), num_group=spec.num_classes, no_bias=True, attr={"lr_mult": "0.0"}, workspace=WORKSPACE_MIB,
    )  # fmt: skip
    if dtype == "float64":  # which Crop does not have
        return mx.sym.Custom(data=x, like=data, offset=CROP, op_type="crop_like", name="croped_score")
    return mx.sym.Crop(x, data, offset=(CROP, CROP), name="croped_score")


def rated_convolution(name: str, data: Symbol, channels: int) -> Symbol:
    """A 1x1 convolution whose bias learns twice as fast as its weight."""
    bias, weight = mx.sym.Variable(f"{name}_bias", lr_mult=2.0), mx.sym.Variable(f"{name}_weight", lr_mult=1.0)
    return mx.sym.Convolution(
        name=name, data=data, kernel=(1, 1), pad=(0, 0), num_filter=channels, bias=bias, weight=weight, workspace=WORKSPACE_MIB
    )  # fmt: skip
