"""The wrong turns that a porter of these networks takes most, each as a change to a correct network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torch_port.layers import BatchNorm, DeformConv2d
from torch_port.models import TwoStage

BGR_MEANS = (103.06, 115.90, 123.15)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Mistake:
    """turn: what the porter does. right: what the original does. node: MXNet's name of the first node that goes wrong.

    spoil: makes the mistake in a Deformable R-FCN. probe: corner case in which the node shows it, "" for any input.
    normalised: the mistake is to load the normalised box weights instead of their `_test` copies.
    """

    id: str
    turn: str
    right: str
    node: str
    spoil: Callable[[TwoStage], None] = lambda network: None
    probe: str = ""
    normalised: bool = False


def deformable_units(network: TwoStage) -> list[nn.Module]:
    return [unit for unit in network.backbone.modules() if isinstance(getattr(unit, "conv2", None), DeformConv2d)]


def poolings(network: TwoStage, *, moved: bool = False) -> list[nn.Module]:
    """The deformable RoI poolings; moved: those that take offsets."""
    head = network.head
    moving = [head.cls_pool, head.bbox_pool]
    return moving if moved else [head.cls_offset_pool, head.bbox_offset_pool, *moving]


def before(modules: list[nn.Module], change: Callable) -> None:
    """Hands each module its arguments changed."""
    for module in modules:
        module.register_forward_pre_hook(lambda module, args: change(*args))


def swapped_pairs(offset: Tensor) -> Tensor:
    """Channels 2k and 2k+1 exchanged."""
    return offset.unflatten(1, (-1, 2)).flip(2).flatten(1, 2)


def dcnv2_border(network: TwoStage) -> None:
    for unit in deformable_units(network):
        unit.conv2.border = "zeros"


def x_first_offsets(network: TwoStage) -> None:
    before([unit.conv2 for unit in deformable_units(network)], lambda input, offset: (input, swapped_pairs(offset)))


def y_first_parts(network: TwoStage) -> None:
    before(poolings(network, moved=True), lambda input, rois, offset: (input, rois, swapped_pairs(offset)))


def plain_offset_convolutions(network: TwoStage) -> None:
    for unit in deformable_units(network):
        unit.offset_conv.dilation = unit.offset_conv.padding = (1, 1)


def mxnet_default_eps(network: TwoStage) -> None:
    set_eps(network, 1e-3)


def twice_the_eps(network: TwoStage) -> None:
    set_eps(network, 2e-5)


def set_eps(network: TwoStage, eps: float) -> None:
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.eps = eps


def floor_pooling(network: TwoStage) -> None:
    network.backbone.stem.pool = nn.MaxPool2d(3, 2)


def padded_pooling(network: TwoStage) -> None:
    network.backbone.stem.pool = nn.MaxPool2d(3, 2, padding=1)


def stride_on_3x3(network: TwoStage) -> None:
    for stage in (network.backbone.stage3, network.backbone.stage4):
        stage[0].conv1.stride, stage[0].conv2.stride = (1, 1), (2, 2)


def half_even_rois(network: TwoStage) -> None:
    before(
        poolings(network),
        lambda input, rois, *offset: (input, torch.cat([rois[:, :1], rois[:, 1:].round()], dim=1), *offset),
    )


def rois_without_last_pixel(network: TwoStage) -> None:
    def shorten(input: Tensor, rois: Tensor, *offset: Tensor) -> tuple[Tensor, ...]:
        return input, rois - rois.new_tensor([0.0, 0, 0, 1, 1]), *offset

    before(poolings(network), shorten)


def blue_first(network: TwoStage) -> None:
    """Planes B, G, R minus the means in the configuration's order, as PIXEL_MEANS = [103.06, ...] seems to ask."""

    def swap(data: Tensor) -> tuple[Tensor]:
        pixels = data + data.new_tensor(BGR_MEANS[::-1]).view(1, 3, 1, 1)
        return (pixels.flip(1) - data.new_tensor(BGR_MEANS).view(1, 3, 1, 1),)

    before([network.backbone.stem.conv], swap)


def torchvision_pixels(network: TwoStage) -> None:
    """0 to 1, minus the ImageNet mean, over its deviation."""

    def scale(data: Tensor) -> tuple[Tensor]:
        pixels = (data + data.new_tensor(BGR_MEANS[::-1]).view(1, 3, 1, 1)) / 255
        mean, std = (data.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return ((pixels - mean) / std,)

    before([network.backbone.stem.conv], scale)


def interleaved_foreground(network: TwoStage) -> None:
    """RPN scores read as (background, foreground) of each anchor in turn; the last A channels are the foregrounds."""

    def interleave(class_prob: Tensor, *others: object) -> tuple[object, ...]:
        return class_prob.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2), *others

    before([network.rpn.proposal], interleave)


def first_box_slot(network: TwoStage) -> None:
    """The four deltas of the background slot, 0:4, instead of 4:8."""
    network.head.bbox_average.register_forward_hook(lambda module, args, output: output.roll(4, dims=1))


MISTAKES = (
    Mistake("border", "torchvision's or DCNv2's border rule in deformable convolutions", "a sample in (-1, 0) is 0, one in [H-1, H) is "
            "the last row: `border=\"clamp\"`", "res5a_branch2b", dcnv2_border),
    Mistake("offsets-x-first", "offsets of deformable convolutions read x first", "y first, then x, for every tap", "res5a_branch2b",
            x_first_offsets),
    Mistake("parts-y-first", "part offsets of deformable RoI pooling read y first", "x first, then y: the opposite of the convolution",
            "psroipooled_cls_rois", y_first_parts),
    Mistake("offset-dilation", "offset convolutions of R-FCN with dilation 1", "dilation 2 and padding 2, like the convolution they serve "
            "(DeepLab and FPN: 1 and 1; the weights have the same shape)", "res5a_branch2b_offset", plain_offset_convolutions),
    Mistake("eps-1e-3", "BatchNorm eps 1e-3, MXNet's default", "1e-5, written in every node of the graph", "bn3a_branch2b",
            mxnet_default_eps),
    Mistake("eps-2e-5", "BatchNorm eps 2e-5, that of many ResNets in MXNet", "1e-5", "bn3a_branch2b", twice_the_eps),
    Mistake("pool-floor", "first pooling with PyTorch's default, rounding its size down", "pooling_convention full: ceil_mode=True, no "
            "padding", "pool1", floor_pooling),
    Mistake("pool-padding", "first pooling with padding 1, as in torchvision's ResNet", "no padding, ceil_mode=True: padded, it has the "
            "right size and looks one pixel aside", "pool1", padded_pooling),
    Mistake("stride-3x3", "stride 2 on the 3x3 convolution, as in torchvision's ResNet", "on the first 1x1 (Caffe's layout)",
            "res3a_branch2a", stride_on_3x3),
    Mistake("blue-first", "planes in B, G, R, since PIXEL_MEANS is", "planes in R, G, B; only the list of means is B, G, R", "conv1",
            blue_first),
    Mistake("pixel-scale", "pixels 0 to 1 with torchvision's mean and deviation", "0 to 255 minus the means, no deviation", "conv1",
            torchvision_pixels),
    Mistake("rpn-channels", "RPN scores read as (background, foreground) by anchor", "first all backgrounds, then all foregrounds", "rois",
            interleaved_foreground),
    Mistake("half-even", "RoI corners rounded half to even (torch.round, np.round)", "half away from zero, before scaling",
            "psroipooled_cls_rois", half_even_rois, probe="RoIs at .5"),
    Mistake("last-pixel", "RoIs that end before their far edge", "x2 and y2 belong to the box: + 1", "rfcn_cls_offset",
            rois_without_last_pixel),
    Mistake("test-weights", "`rfcn_bbox_weight` loaded, its `_test` copy left out", "the `_test` copies are un-normalised, for detection",
            "rfcn_bbox", normalised=True),
    Mistake("box-slot", "class-agnostic boxes from columns 0:4", "columns 4:8; 0:4 is the background's slot", "ave_bbox_pred_rois",
            first_box_slot),
)  # fmt: skip
