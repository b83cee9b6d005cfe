"""Frozen batch normalisation folded into the convolutions before it, for inference."""

import copy
from typing import TypeVar

import torch
from torch import nn

from dcn_tasks.errors import InputError
from torch_port.layers import Add, BatchNorm, DeformConv2d, ModulatedDeformConv2d
from torch_port.models.backbone import InceptionUnit

ALL = slice(None)  # channels
PAIRS = (("conv", "bn"), ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norm(network: Network) -> Network:
    """A copy for inference whose batch normalisations are folded into their convolutions, with ReLUs and sums in place.

    conv(x) * s + t with s = weight / sqrt(running_var + eps), t = bias - running_mean * s becomes one convolution of
    weight conv.weight * s and bias t. It is the same function rounded differently, so layers are compared on the
    network itself, not on the copy. The copy is in evaluation mode, channels_last, and its gradients are off.

    Raises: InputError for a normalisation that has no convolution in front of it by the names of this project.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for parent in folded.modules():
        if isinstance(parent, InceptionUnit):
            fold_concat(parent)
        for conv, norm in PAIRS:
            if hasattr(parent, conv) and isinstance(getattr(parent, norm, None), BatchNorm):
                fold_pair(getattr(parent, conv), getattr(parent, norm))
                setattr(parent, norm, nn.Identity())
        if isinstance(parent, nn.ReLU | Add):
            parent.inplace = True  # every sum's second term is a convolution's output that nothing else reads
    left = [name for name, module in folded.named_modules() if isinstance(module, BatchNorm)]
    if left:
        raise InputError(
            f"fold_batch_norm: expected a convolution before every normalisation, found none before {left[0]}"
        )
    return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fold_concat(unit: InceptionUnit) -> None:
    """Folds the normalisation of the concatenated branches into the last convolution of each, its own channels."""
    start = 0
    for branch in (unit.a, unit.b):
        conv = branch.last
        stop = start + conv.out_channels
        fold_pair(conv, unit.bn1, slice(start, stop))
        start = stop
    unit.bn1 = nn.Identity()  # type: ignore[assignment]


@torch.no_grad()
def fold_pair(conv: nn.Conv2d | DeformConv2d | ModulatedDeformConv2d, norm: BatchNorm, channels: slice = ALL) -> None:
    """Scales the convolution's weight and gives it the bias, both computed in float64. channels: of the norm."""
    weight, bias, mean, variance = (
        tensor.double()[channels] for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    scale = weight / (variance + norm.eps).sqrt()
    shift = bias - mean * scale
    if conv.bias is not None:
        shift += conv.bias.double() * scale
    conv.weight = nn.Parameter((conv.weight.double() * scale[:, None, None, None]).to(conv.weight), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight), requires_grad=False)
