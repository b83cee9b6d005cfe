"""Weights of other libraries' deformable layers, into ours, with the same outputs.

What the libraries have in common: the rule outside the map ("zeros"), offsets with y first, tap by tap, group by group,
and, where one convolution predicts offsets and mask, 2*G*K channels of offsets before G*K of mask. Where they part:

| library | key of the predicting convolution of a layer `x` | mask |
|---|---|---|
| mmcv, DeformConv2dPack and ModulatedDeformConv2dPack | `x.conv_offset.*`, in old files `x_offset.*` | sigmoid |
| detectron2, DeformConv and ModulatedDeformConv with the convolution its blocks put beside them | `x_offset.*` | sigmoid |
| torchvision, DeformConv2d | none: offsets come from outside | from outside |
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from torch import Tensor, nn

from dcn_tasks.errors import InputError
from torch_port.layers.deform_conv import (
    DeformableConvolution,
    DeformConv2dPack,
    ModulatedDeformConv2dPack,
)

WHO = "load_peer_state"
Peer = Literal["mmcv", "detectron2", "torchvision"]
# Where `offset_conv.` of ours stands, seen from the layer's prefix without its dot.
PREDICTOR_PREFIXES: dict[str, tuple[str, ...]] = {
    "mmcv": ("{layer}.conv_offset.", "{layer}_offset."),
    "detectron2": ("{layer}_offset.",),
    "torchvision": (),
}


def load_peer_state(
    layer: DeformableConvolution,
    state: Mapping[str, Tensor],
    *,
    peer: Peer,
    prefix: str = "",
    norm: nn.Module | None = None,
) -> None:
    """Load another library's weights so that `layer` computes what theirs did.

    mmcv's and detectron2's mask is sigmoid(m), and ours layer.mask_scale * sigmoid(m): the weight is divided by
    mask_scale, a power of two by default, so nothing is rounded.

    Args:
        layer: DeformConv2d, ModulatedDeformConv2d or a Pack, built with border="zeros".
        state: state dict of the other library's layer, or of a network that holds it.
        peer: whose it is.
        prefix: what the layer's keys start with, dot included ("backbone.layer4.0.conv2."); with an empty one `state`
            must hold this layer and nothing else.
        norm: detectron2's layers may hold the normalisation that follows them; here it is a module of its own, and its
            weights go into this one (torch_port.layers.BatchNorm, say).
    Raises: InputError where a key is missing, left over (a normalisation inside detectron2's layer, say), or of another
        shape, and where the layer's rule outside the map is not theirs.
    """
    if peer not in PREDICTOR_PREFIXES:
        raise InputError(f"{WHO}: peer: expected one of {sorted(PREDICTOR_PREFIXES)}, got {peer!r}")
    if layer.border != "zeros":
        raise InputError(
            f'{WHO}: expected a layer with border="zeros", the rule of {peer}, got {layer.border!r}: build it with that'
        )
    theirs = keys_of_layer(state, prefix, peer)
    wanted = {name: t for name, t in layer.state_dict().items() if not name.startswith("offset_conv.")}
    renamed = {name: prefix + name for name in wanted}
    if isinstance(layer, (DeformConv2dPack, ModulatedDeformConv2dPack)):
        renamed |= predictor_keys(layer, theirs, prefix, peer)
    if norm is not None:
        norm_values = values_of_norm(norm, state, theirs, prefix + "norm.")
        theirs = {key for key in theirs if not key.startswith(prefix + "norm.")}
    missing, left = sorted(set(renamed.values()) - theirs), sorted(theirs - set(renamed.values()))
    if missing or left:
        raise InputError(
            f"{WHO}: {type(layer).__name__} and the {peer} layer do not fit: missing {missing}, left over {left}: "
            "is it the same kind of layer, with a bias where theirs has one, and the right prefix? For a "
            "normalisation inside their layer hand in norm="
        )
    values = {ours: state[key] for ours, key in renamed.items()}
    check_shapes(layer, values, renamed, values)
    if isinstance(layer, ModulatedDeformConv2dPack):
        values["weight"] = values["weight"] / layer.mask_scale
    layer.load_state_dict(values)
    if norm is not None:
        norm.load_state_dict(norm_values)


def values_of_norm(norm: nn.Module, state: Mapping[str, Tensor], theirs: set[str], prefix: str) -> dict[str, Tensor]:
    values = {key.removeprefix(prefix): state[key] for key in theirs if key.startswith(prefix)}
    counter = "num_batches_tracked"  # of torch.nn.BatchNorm2d; no part of what it computes
    expected = [name for name in norm.state_dict() if name != counter]
    if sorted(values.keys() - {counter}) != sorted(expected):
        raise InputError(f"{WHO}: norm: expected {prefix} with {sorted(expected)}, got {sorted(values)}")
    check_shapes(norm, values, {name: prefix + name for name in values}, expected)
    return {name: values.get(name, t) for name, t in norm.state_dict().items()}


def keys_of_layer(state: Mapping[str, Tensor], prefix: str, peer: str) -> set[str]:
    """Every key that belongs to the layer: under its prefix, and under its predictor's."""
    predictors = tuple(form.format(layer=prefix.removesuffix(".")) for form in PREDICTOR_PREFIXES[peer] if prefix)
    return {key for key in state if key.startswith((prefix, *predictors))}


def predictor_keys(
    layer: DeformConv2dPack | ModulatedDeformConv2dPack, theirs: set[str], prefix: str, peer: str
) -> dict[str, str]:
    """Ours -> theirs for offset_conv's parameters; the first place that the file has."""
    if not PREDICTOR_PREFIXES[peer]:
        raise InputError(
            f"{WHO}: {type(layer).__name__} predicts its offsets, {peer}'s layer does not: load it into "
            "DeformConv2d or ModulatedDeformConv2d, and the convolution that predicts into offset_conv"
        )
    places = [form.format(layer=prefix.removesuffix(".")).removeprefix(".") for form in PREDICTOR_PREFIXES[peer]]
    place = next((p for p in places if p + "weight" in theirs), places[0])
    return {f"offset_conv.{name}": place + name for name in layer.offset_conv.state_dict()}


def check_shapes(
    layer: nn.Module, values: Mapping[str, Tensor], renamed: Mapping[str, str], names: Iterable[str]
) -> None:
    state = layer.state_dict()
    for name in names:
        expected = state[name]
        if values[name].shape != expected.shape:
            raise InputError(
                f"{WHO}: {renamed[name]}: expected {list(expected.shape)}, as {type(layer).__name__}.{name} has, got "
                f"{list(values[name].shape)}: do channels, kernel, groups and offset_groups agree?"
            )
