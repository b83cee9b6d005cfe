"""Convolutions whose weights oneDNN has laid out once for the sizes at hand, with the ReLU or sum behind them in the same call.

PyTorch's own call lays a weight out anew each time, which costs more than the convolution where maps are small.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, fx

from weights_convert.translate.operators.activation import activation
from weights_convert.translate.operators.binary import elemwise_add
from weights_convert.translate.operators.dense import CHANNELS_LAST, convolution, per_axis

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


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN and the calls that torch.compile's frozen graphs make of it."""
    calls = ("_convolution_pointwise", "_reorder_convolution_weight")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, each) for each in calls)


def pack(module: fx.GraphModule, inputs: Mapping[str, Tensor]) -> None:
    """Replaces the convolutions of a float32 module on the CPU, in place. inputs: by the call's names, of the size to come."""
    order = [each.target for each in module.graph.nodes if each.op == "placeholder"]
    with torch.no_grad():
        ShapeReader(module).run(*[inputs.get(name) for name in order])
    for node in list(module.graph.nodes):
        if node.target is convolution and packable(module, node):
            fuse(module, node)


def packable(module: fx.GraphModule, conv: fx.Node) -> bool:
    learned = [each for each in conv.args[1:] if each is not None]
    known = SHAPE in conv.args[0].meta and len(conv.kwargs["kernel"]) in (2, 3)
    plain = known and conv.kwargs.get("layout") not in CHANNELS_LAST and all(each.op == "get_attr" for each in learned)
    return plain and learned[0].meta[SHAPE][0] > 0 and array_at(module, learned[0]).dtype == torch.float32


def array_at(module: fx.GraphModule, node: fx.Node) -> Tensor:
    owner, _, name = node.target.rpartition(".")
    return getattr(module.get_submodule(owner), name).detach()


def fuse(module: fx.GraphModule, conv: fx.Node) -> None:
    """One call for a convolution, the sum that alone reads it and the ReLU that alone reads that."""
    last, other = conv, None
    reader = only_reader(last)
    if reader is not None and reader.target is elemwise_add and reader.args[0] is not reader.args[1]:
        addend = reader.args[1] if reader.args[0] is conv else reader.args[0]
        if addend.meta.get(SHAPE) == conv.meta.get(SHAPE):
            last, other = reader, addend
    reader = only_reader(last)
    relu = reader is not None and reader.target is activation and reader.kwargs["act_type"] == "relu"
    last = reader if relu else last
    axes = len(conv.kwargs["kernel"])
    geometry = {
        "pad": per_axis(conv.kwargs.get("pad", ()), axes, 0),
        "stride": per_axis(conv.kwargs.get("stride", ()), axes, 1),
        "dilate": per_axis(conv.kwargs.get("dilate", ()), axes, 1),
        "groups": conv.kwargs.get("num_group", 1),
    }
    weight, bias = conv.args[1], conv.args[2] if len(conv.args) > 2 and not conv.kwargs.get("no_bias") else None
    laid_out = torch.ops.mkldnn._reorder_convolution_weight(
        array_at(module, weight), *map(list, (geometry["pad"], geometry["stride"], geometry["dilate"])),
        geometry["groups"], list(conv.args[0].meta[SHAPE]),
    )  # fmt: skip
    name = f"{conv.name}_packed_weight"
    module.register_buffer(name, laid_out, persistent=False)
    with module.graph.inserting_before(last):
        packed = module.graph.get_attr(name)
        made = module.graph.call_function(
            packed_convolution, (conv.args[0], packed, bias, other), {**geometry, "relu": relu}
        )
    made.meta[SHAPE] = conv.meta.get(SHAPE)
    last.replace_all_uses_with(made)
    module.graph.eliminate_dead_code()


def only_reader(node: fx.Node) -> fx.Node | None:
    readers = list(node.users)
    return readers[0] if len(readers) == 1 and readers[0].op == "call_function" else None
