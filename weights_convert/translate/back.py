"""The way back: a converted module as a symbol.json and parameters that MXNet 1.9.1 loads."""

import json
import operator as python_operator
from typing import Any

import torch
from torch import fx

from dcn_tasks.errors import InputError
from weights_convert.arrays import Params
from weights_convert.tensors import to_array
from weights_convert.translate.attributes import spelled
from weights_convert.translate.module import NODE, attributes_of, input_names, mxnet_names
from weights_convert.translate.registry import Operator, operator_of

WRITTEN_AS = 10901  # MXNet 1.9.1
COUNTS_INPUTS = ("Crop",)  # asks how many inputs it has, though there are at most two


def to_symbol(module: fx.GraphModule) -> tuple[str, Params]:
    """The text of a symbol.json, and the module's present parameters and buffers under MXNet's names.

    Args: module: made by `convert`; it may have been trained, and calls of registered operators may have been added.
    Raises: InputError naming the first call that is no registered operator.
    """
    writer = SymbolWriter(module)
    text = json.dumps(writer.document(), indent=2, ensure_ascii=False)  # MXNet cannot read \u
    return text, Params(writer.arg, writer.aux)


class SymbolWriter:
    """Turns one fx graph into the nodes of a symbol.json."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.names = {path: name for name, path in mxnet_names(module).items()}
        self.inputs = {argument: name for name, argument in input_names(module).items()}
        self.nodes: list[dict[str, Any]] = []
        self.entries: dict[fx.Node, tuple[int, int]] = {}
        self.variables: dict[str, int] = {}
        self.arg: dict[str, Any] = {}
        self.aux: dict[str, Any] = {}

    def document(self) -> dict[str, Any]:
        heads: list[list[int]] = []
        for node in self.module.graph.nodes:
            if node.op == "output":
                ends = node.args[0] if isinstance(node.args[0], tuple) else (node.args[0],)
                heads = [[*self.entries[each], 0] for each in ends]
            elif node.op != "get_attr" or node.target != "training":
                self.add(node)
        return {
            "nodes": self.nodes,
            "arg_nodes": [place for place, node in enumerate(self.nodes) if node["op"] == "null"],
            "heads": heads,
            "attrs": {"mxnet_version": ["int", WRITTEN_AS]},
        }

    def add(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.entries[node] = (self.variable(self.inputs.get(node.target, node.target), node), 0)
        elif node.op == "get_attr":
            name = self.names.get(node.target, node.target)
            self.entries[node] = (self.variable(name, node), 0)
            self.keep(name, node)
        elif node.target is python_operator.getitem:
            self.entries[node] = (self.entries[node.args[0]][0], node.args[1])
        else:
            self.entries[node] = (self.call(node), 0)

    def variable(self, name: str, node: fx.Node) -> int:
        if name not in self.variables:
            source = node.meta.get(NODE)
            attrs = {key: text for key, text in source.attrs.items() if key.startswith("__")} if source else {}
            self.variables[name] = self.append({"op": "null", "name": name, "attrs": attrs, "inputs": []})
        return self.variables[name]

    def keep(self, name: str, node: fx.Node) -> None:
        value: Any = self.module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        source = node.meta.get(NODE)
        group = self.aux if source is not None and source.aux else self.arg
        group[name] = to_array(value if isinstance(value, torch.Tensor) else torch.as_tensor(value))

    def call(self, node: fx.Node) -> int:
        found = operator_of(node.target, f"to_symbol: {node.name}")
        source = node.meta.get(NODE)
        attrs = {key: text for key, text in source.attrs.items() if key.startswith("__")} if source else {}
        attrs |= {key: spelled(value) for key, value in node.kwargs.items() if key in found.attributes}
        if source is not None and source.subgraphs:
            return self.fused(node, found)
        if found.variadic or found.name in COUNTS_INPUTS:
            stated = source.attrs.get("num_args") if source is not None and len(source.inputs) == len(node.args) else ""
            attrs["num_args"] = stated or str(len(node.args))
        ends = self.ends(node)
        own = source.name if source is not None else node.name
        op = found.name
        if op.startswith("Custom:"):
            op, attrs["op_type"] = "Custom", found.name.partition(":")[2]
        return self.append({"op": op, "name": own, "attrs": attrs, "inputs": ends})

    def ends(self, node: fx.Node) -> list[list[int]]:
        return [[*self.entries[each], 0] for each in node.args if isinstance(each, fx.Node)]

    def fused(self, node: fx.Node, found: Operator) -> int:
        """A node that MXNet made of several goes back as it came, inner graph and all. Raises: InputError where it was changed."""
        source = node.meta[NODE]
        given = {key: value for key, value in node.kwargs.items() if key in found.attributes}
        if given != attributes_of(source, found):
            raise InputError(
                f"to_symbol: {source.name}: attributes of the fused {found.name} were changed; expected those of the "
                "file, since its inner graph says them too; convert the graph anew"
            )
        made = {"op": found.name, "name": source.name, "attrs": dict(source.attrs), "inputs": self.ends(node)}
        return self.append({**made, "subgraphs": list(source.subgraphs)})

    def append(self, node: dict[str, Any]) -> int:
        if not node["attrs"]:
            del node["attrs"]
        self.nodes.append(node)
        return len(self.nodes) - 1
