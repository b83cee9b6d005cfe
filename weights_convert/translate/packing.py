"""Convolutions whose weights oneDNN has laid out once for the sizes at hand, with the ReLU or sum behind them in the same call.

PyTorch's own call lays a weight out anew each time, which costs more than the convolution where maps are small.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from weights_convert.translate.operators.activation import activation
from weights_convert.translate.operators.binary import elemwise_add
from weights_convert.translate.operators.dense import CHANNELS_LAST, convolution, deconvolution, per_axis

SHAPE = "shape"  # key in fx.Node.meta


class ShapeReader(fx.Interpreter):
    """Runs a module once and writes every result's shape to its node."""

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta[SHAPE] = tuple(result.shape)
        return result


def packed_convolution(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    other: Tensor | None = None,
    *,
    pad: tuple[int, ...],
    stride: tuple[int, ...],
    dilate: tuple[int, ...],
    groups: int,
    relu: bool,
) -> Tensor:
    """relu(convolution + other), both if asked for; weight in oneDNN's layout. data [N, C, H, W] or one axis more."""
    geometry = (list(pad), list(stride), list(dilate), groups)
    run = torch.ops.mkldnn._convolution_pointwise
    if other is None:
        return run(data, weight, bias, *geometry, "relu" if relu else "none", [], "")
    return run.binary(data, other, weight, bias, *geometry, "add", None, "relu" if relu else None, [], None)


def packed_deconvolution(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    pad: tuple[int, ...],
    adj: tuple[int, ...],
    stride: tuple[int, ...],
    dilate: tuple[int, ...],
    groups: int,
    relu: bool,
) -> Tensor:
    """relu(transposed convolution), the ReLU if asked for; weight in oneDNN's layout. data [N, C, H, W]."""
    geometry = (list(pad), list(adj), list(stride), list(dilate), groups)
    run = torch.ops.mkldnn._convolution_transpose_pointwise
    return run(data, weight, bias, *geometry, "relu" if relu else "none", [], "")


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN and the calls that torch.compile's frozen graphs make of it."""
    calls = ("_convolution_pointwise", "_convolution_transpose_pointwise", "_reorder_convolution_weight",
             "_reorder_convolution_transpose_weight")  # fmt: skip
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, each) for each in calls)


def pack(module: fx.GraphModule, inputs: Mapping[str, Tensor]) -> None:
    """Replaces the convolutions of a float32 module on the CPU, in place. inputs: by the call's names, of the size to come."""
    order = [each.target for each in module.graph.nodes if each.op == "placeholder"]
    with torch.no_grad():
        ShapeReader(module).run(*[inputs.get(name) for name in order])
    for node in list(module.graph.nodes):
        if node.target in (convolution, deconvolution) and packable(module, node):
            fuse(module, node)


def packable(module: fx.GraphModule, conv: fx.Node) -> bool:
    learned = [each for each in conv.args[1:] if each is not None]
    axes = (2, 3) if conv.target is convolution else (2,)
    known = (
        SHAPE in conv.args[0].meta
        and len(conv.kwargs["kernel"]) in axes
        and not any(conv.kwargs.get("target_shape", ()))
    )
    plain = known and conv.kwargs.get("layout") not in CHANNELS_LAST and all(each.op == "get_attr" for each in learned)
    return plain and learned[0].meta[SHAPE][0] > 0 and array_at(module, learned[0]).dtype == torch.float32


def array_at(module: fx.GraphModule, node: fx.Node) -> Tensor:
    owner, _, name = node.target.rpartition(".")
    return getattr(module.get_submodule(owner), name).detach()


def fuse(module: fx.GraphModule, conv: fx.Node) -> None:
    """One call for a convolution, the sum that alone reads it and the ReLU that alone reads that; no sum after a transposed one."""
    last, other = conv, None
    reader = only_reader(last)
    if conv.target is convolution and reader is not None and reader.target is elemwise_add:
        addend = reader.args[1] if reader.args[0] is conv else reader.args[0]
        if addend is not conv and addend.meta.get(SHAPE) == conv.meta.get(SHAPE):
            last, other = reader, addend
    reader = only_reader(last)
    relu = reader is not None and reader.target is activation and reader.kwargs["act_type"] == "relu"
    last = reader if relu else last
    no_bias = conv.kwargs.get("no_bias", conv.target is deconvolution)
    bias = conv.args[2] if len(conv.args) > 2 and not no_bias else None
    geometry = geometry_of(conv)
    name = f"{conv.name}_packed_weight"
    module.register_buffer(name, laid_out(array_at(module, conv.args[1]), conv, geometry), persistent=False)
    with module.graph.inserting_before(last):
        packed = module.graph.get_attr(name)
        call, ends = (packed_convolution, (other,)) if conv.target is convolution else (packed_deconvolution, ())
        made = module.graph.call_function(call, (conv.args[0], packed, bias, *ends), {**geometry, "relu": relu})
    made.meta[SHAPE] = conv.meta.get(SHAPE)
    last.replace_all_uses_with(made)
    module.graph.eliminate_dead_code()


def geometry_of(conv: fx.Node) -> dict[str, Any]:
    """Keyword arguments of the packed call, without the ReLU."""
    axes = len(conv.kwargs["kernel"])
    defaults = {"pad": 0, "stride": 1, "dilate": 1} | ({"adj": 0} if conv.target is deconvolution else {})
    sides = {key: per_axis(conv.kwargs.get(key, ()), axes, default) for key, default in defaults.items()}
    return {**sides, "groups": conv.kwargs.get("num_group", 1)}


def laid_out(weight: Tensor, conv: fx.Node, geometry: dict[str, Any]) -> Tensor:
    """The weight as oneDNN wants it for this convolution on an input of the size seen."""
    pad, stride, dilate = (list(geometry[key]) for key in ("pad", "stride", "dilate"))
    size = list(conv.args[0].meta[SHAPE])
    if conv.target is convolution:
        return torch.ops.mkldnn._reorder_convolution_weight(weight, pad, stride, dilate, geometry["groups"], size)
    reorder = torch.ops.mkldnn._reorder_convolution_transpose_weight
    return reorder(weight, pad, list(geometry["adj"]), stride, dilate, geometry["groups"], size)


def only_reader(node: fx.Node) -> fx.Node | None:
    readers = list(node.users)
    return readers[0] if len(readers) == 1 and readers[0].op == "call_function" else None
