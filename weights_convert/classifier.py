"""The small image classifier's arrays: MXNet's names to PyTorch's and back, bit for bit."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dcn_tasks.classifier import OFFSETS, ClassifierSpec
from weights_convert.rules.rule import Binding, Entry, Rule, Scopes, expand

Arrays = dict[str, np.ndarray]

LAYER = (
    Rule("conv{layer}_weight", "layers.{place}.conv.weight", ("width", "inputs", 3, 3), each="layer"),
    Rule("bn_conv{layer}_gamma", "layers.{place}.norm.weight", ("width",), each="layer"),
    Rule("bn_conv{layer}_beta", "layers.{place}.norm.bias", ("width",), each="layer"),
    Rule("bn_conv{layer}_moving_mean", "layers.{place}.norm.running_mean", ("width",), each="layer", state="aux"),
    Rule("bn_conv{layer}_moving_var", "layers.{place}.norm.running_var", ("width",), each="layer", state="aux"),
    Rule("conv{layer}_offset_weight", "layers.{place}.conv.offset_conv.weight", (OFFSETS, "inputs", 3, 3), each="deformable"),
    Rule("conv{layer}_offset_bias", "layers.{place}.conv.offset_conv.bias", (OFFSETS,), each="deformable"),
    Rule("fc_weight", "fc.weight", ("classes", "last")),
    Rule("fc_bias", "fc.bias", ("classes",)),
)  # fmt: skip


def entries(spec: ClassifierSpec) -> list[Entry]:
    """Every array of the network under both names."""
    layers: list[Binding] = [
        {"layer": place + 1, "place": place, "inputs": inputs, "width": width}
        for place, (inputs, width) in enumerate(zip(spec.inputs, spec.widths, strict=True))
    ]
    scopes: Scopes = {
        "layer": layers,
        "deformable": [layers[place] for place in spec.deformable],
        "network": [{"classes": spec.num_classes, "last": spec.widths[-1]}],
    }
    return [entry for rule in LAYER for entry in expand(rule, scopes)]


def classifier_to_torch(
    spec: ClassifierSpec, arg: Mapping[str, np.ndarray], aux: Mapping[str, np.ndarray]
) -> dict[str, Tensor]:
    """A state_dict of torch_port.models.Classifier. Raises: KeyError for an array that is missing."""
    arrays = {"arg": arg, "aux": aux}
    return {entry.torch: torch.tensor(arrays[entry.state][entry.mxnet]) for entry in entries(spec)}


def classifier_to_mxnet(spec: ClassifierSpec, state: Mapping[str, Tensor]) -> tuple[Arrays, Arrays]:
    """(arg, aux) by MXNet's names. Raises: KeyError for a tensor that is missing."""
    found: dict[str, Arrays] = {"arg": {}, "aux": {}}
    for entry in entries(spec):
        found[entry.state][entry.mxnet] = state[entry.torch].detach().cpu().numpy()
    return found["arg"], found["aux"]
