"""A converted module made fast for inference: the same function with fewer calls."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from weights_convert.translate.operators.activation import activation
from weights_convert.translate.operators.binary import elemwise_add
from weights_convert.translate.operators.dense import CHANNELS_LAST, convolution, deconvolution, fully_connected
from weights_convert.translate.operators.normalization import batch_norm, dropout
from weights_convert.translate.packing import array_at, can_pack, pack, packed_convolution, packed_deconvolution

LINEAR = (convolution, deconvolution, fully_connected)


def fits(data: Tensor, other: Tensor) -> bool:
    """Whether a sum has data's shape and type; by sizes, since torch.jit.script has no broadcast_shapes."""
    same = other.dtype == data.dtype and other.dim() <= data.dim()
    for back in range(1, min(other.dim(), data.dim()) + 1):
        same = same and (other.shape[-back] == 1 or other.shape[-back] == data.shape[-back])
    return same


def added_to(data: Tensor, other: Tensor) -> Tensor:
    """The sum, in data's memory where it has the sum's shape (arrays that MXNet infers from others have length 1)."""
    return data.add_(other) if fits(data, other) else data + other


# The result is an array of its own, so its only reader may overwrite it.
MAKES_ITS_OWN = (*LINEAR, packed_convolution, packed_deconvolution, batch_norm, elemwise_add, added_to, torch.relu_)


def for_inference(
    module: fx.GraphModule, *, channels_last: bool = True, inputs: Mapping[str, Tensor] | None = None
) -> fx.GraphModule:
    """A copy for inference: BatchNorm folded into the layer before it, no Dropout, ReLUs and sums in place.

    conv(x) * s + t with s = gamma / sqrt(moving_var + eps), t = beta - moving_mean * s becomes one layer of weight
    weight * s and bias t. It is the same function rounded differently; layers are compared on `module`, not on the copy.

    Args:
        module: made by `convert`; it is left as it is. Its present parameters and statistics are used.
        channels_last: weights and inputs of 4 axes in channels_last, in which PyTorch's convolutions are fastest.
        inputs: examples by the call's names, for a copy that stays on the CPU in float32 and is fastest for their sizes
            (any others work): convolution weights in oneDNN's layout, with ReLUs and sums in the same call. Such a copy
            can't be saved, moved or exported. Where PyTorch has no oneDNN they change nothing.
    Returns: a module of the same call and outputs, in evaluation mode, without gradients. It can't be trained or go back
        to MXNet. A BatchNorm with no such layer before it, or whose layer others read too, stays.
    """
    made = copy.deepcopy(module).eval().requires_grad_(False)
    for node in list(made.graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is batch_norm and foldable(node):
            fold(made, node)
        elif node.target is dropout and node.kwargs.get("mode", "training") == "training":
            replace(made, node, node.args[0])
    if channels_last:
        in_channels_last(made)
    if inputs is not None and can_pack():
        pack(made, inputs)
    for node in made.graph.nodes:
        in_place(node)
    drop_unused(made)
    made.recompile()
    return made


def foldable(norm: fx.Node) -> bool:
    """Whether what feeds a BatchNorm is a layer with learned arrays that nothing else reads."""
    layer = norm.args[0]
    if norm.kwargs.get("axis", 1) != 1 or norm.kwargs.get("output_mean_var"):
        return False
    if not isinstance(layer, fx.Node) or layer.target not in LINEAR or len(layer.users) != 1:
        return False
    if layer.kwargs.get("layout") in CHANNELS_LAST or not layer.kwargs.get("flatten", True):
        return False
    return all(each.op == "get_attr" for each in (*layer.args[1:], *norm.args[1:]) if each is not None)


@torch.no_grad()
def fold(module: fx.GraphModule, norm: fx.Node) -> None:
    """Gives the layer before a BatchNorm a weight and bias of its own, computed in float64, and leaves the BatchNorm out."""
    layer = norm.args[0]
    weight = array_at(module, layer.args[1])
    gamma, beta, mean, variance = (array_at(module, each).double() for each in norm.args[1:])
    eps = norm.kwargs.get("eps", batch_norm.__kwdefaults__["eps"])
    scale = (torch.ones_like(gamma) if norm.kwargs.get("fix_gamma", True) else gamma) / (variance + eps).sqrt()
    shift = beta - mean * scale
    no_bias = layer.kwargs.get("no_bias", layer.target is deconvolution)
    if not no_bias and len(layer.args) > 2 and layer.args[2] is not None:
        shift += array_at(module, layer.args[2]).double() * scale
    with module.graph.inserting_before(layer):
        arrays = [
            module.graph.get_attr(registered(module, f"{layer.name}_folded_{kind}", value.to(weight.dtype)))
            for kind, value in (("weight", scaled(layer, weight.double(), scale)), ("bias", shift))
        ]
    layer.args = (layer.args[0], *arrays)
    layer.kwargs = {**layer.kwargs, "no_bias": False}
    replace(module, norm, layer)


def scaled(layer: fx.Node, weight: Tensor, scale: Tensor) -> Tensor:
    """The weight with every output channel times its scale."""
    if layer.target is not deconvolution:
        return weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    groups = layer.kwargs.get("num_group", 1)  # [I, O / groups, ...]
    parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return (parts * scale.reshape(groups, 1, -1, *[1] * (weight.dim() - 2))).reshape(weight.shape)


def registered(module: fx.GraphModule, name: str, value: Tensor) -> str:
    while hasattr(module, name):
        name += "_"
    module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return name


def replace(module: fx.GraphModule, node: fx.Node, other: fx.Node) -> None:
    node.replace_all_uses_with(other)
    module.graph.erase_node(node)


def overwritable(value: object, reader: fx.Node) -> bool:
    return isinstance(value, fx.Node) and value.target in MAKES_ITS_OWN and set(value.users) == {reader}


def in_place(node: fx.Node) -> None:
    """ReLU and sum overwrite an array that nothing else reads."""
    if node.target is activation and node.kwargs.get("act_type") == "relu" and overwritable(node.args[0], node):
        node.target, node.kwargs = torch.relu_, {}
    elif node.target is elemwise_add and node.args[0] is not node.args[1]:
        ends = [each for each in node.args if overwritable(each, node)]
        if ends:
            other = node.args[1] if ends[0] is node.args[0] else node.args[0]
            node.target, node.args = added_to, (ends[0], other)


def in_channels_last(module: fx.GraphModule) -> None:
    """Weights of 4 axes, and the same of inputs when they come in."""
    for each in module.parameters():
        if each.dim() == 4:
            each.data = each.data.contiguous(memory_format=torch.channels_last)
    for node in [each for each in module.graph.nodes if each.op == "placeholder" and not each.args]:
        last = [each for each in module.graph.nodes if each.op == "placeholder"][-1]
        with module.graph.inserting_after(last):
            call = module.graph.call_function(maps_channels_last, (node,))
        node.replace_all_uses_with(call, delete_user_cb=lambda user, own=call: user is not own)


def maps_channels_last(data: Tensor) -> Tensor:
    return data.contiguous(memory_format=torch.channels_last) if data.dim() == 4 else data


def drop_unused(module: fx.GraphModule) -> None:
    """Takes out learned arrays and statistics that no call reads any more."""
    module.graph.eliminate_dead_code()
    read = {each.target for each in module.graph.nodes if each.op == "get_attr"}
    for path in [name for name, _ in (*module.named_parameters(), *module.named_buffers()) if name not in read]:
        owner, _, name = path.rpartition(".")
        delattr(module.get_submodule(owner), name)
    module.meta["mxnet"]["paths"] = {name: path for name, path in module.meta["mxnet"]["paths"].items() if path in read}
