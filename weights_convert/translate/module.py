"""A graph and its arrays as a `torch.fx.GraphModule`: one call for each MXNet node, parameters under MXNet's names."""

import keyword
import math
import operator as python_operator
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from dcn_tasks.errors import InputError
from weights_convert.arrays import Params, Sparse
from weights_convert.graph import Graph, Node, load_symbol
from weights_convert.load import load_params
from weights_convert.tensors import to_tensor
from weights_convert.translate import operators as _operators  # noqa: F401  fills the registry
from weights_convert.translate.ages import brought_up
from weights_convert.translate.fused import inner_attributes
from weights_convert.translate.learned import check_present, check_shapes
from weights_convert.translate.registry import LEARNED, REGISTRY, Operator

SAFE_NAME = re.compile(
    r"[\w.\-+()/ ,:#@=]+", re.ASCII
)  # goes into generated source: no quotes, no line ends, no backslash
HOW_TO_REGISTER = (
    "register a translation: `from weights_convert.translate import operator`, then a function under "
    '@operator("{name}") with the inputs as parameters and the attributes as keyword-only ones (docs/any_model.md)'
)
WITHOUT_SUBGRAPHS = (
    "export the network from MXNet with its loops unrolled and its branches chosen, and without a subgraph backend "
    "(MXNET_SUBGRAPH_BACKEND=NONE)"
)
OWN_ATTRIBUTES = frozenset(dir(fx.GraphModule(nn.Module(), fx.Graph())))  # no array can have these names; code is one
# A table that training touched keeps about every row, csr pays above one value in a thousand; a new table keeps none.
DENSE_TO_STORED = 1024
SPARSE_ROOM = 1 << 26  # bytes of dense arrays that a graph may have beyond that, so that no small file fills the memory
MAX_DOTS = 32  # in a name; modules nested a thousand deep end in PyTorch's RecursionError
MAX_OUTPUTS = 1 << 16  # of one node; an unrolled recurrence splits into some hundreds
NODE = "mxnet"  # key in fx.Node.meta
MODULE = "mxnet"  # key in GraphModule.meta


class ConvertedModule(fx.GraphModule):
    """What `convert` makes: a GraphModule that torch.jit.script takes too."""

    def __prepare_scriptable__(self) -> fx.GraphModule:
        """What torch.jit.script compiles in its stead. Raises: InputError naming the first node that it cannot."""
        from weights_convert.translate.scripting import scriptable

        return scriptable(self)


def convert(
    symbol: Graph | str | os.PathLike, params: Params | str | os.PathLike, *, inputs: Iterable[str] | None = None
) -> fx.GraphModule:
    """Any MXNet graph as a PyTorch module that runs, trains, exports and compiles.

    Args:
        symbol: a Graph, or the path of a symbol.json.
        params: Params, or the path of a .params file. Arrays without prefix count as arguments and as auxiliary states.
        inputs: names of the variables that callers give; None: those without an array.
    Returns: a module called with its inputs by name (letters that Python does not allow in names become `_`), e.g.
        `module(data=x)`; labels of loss heads may be left out. One output comes as a tensor, several as a tuple in the
        graph's order. Parameters and buffers (auxiliary states) have MXNet's names. It starts in evaluation mode.
    Raises: InputError that lists every operator without a translation, or names the node and what is wrong with it.
    """
    graph = brought_up(symbol if isinstance(symbol, Graph) else load_symbol(symbol))
    arrays = params if isinstance(params, Params) else load_params(params)
    found = translations(graph)
    return ModuleBuilder(graph, found, arrays, None if inputs is None else set(inputs)).module()


def registered_name(node: Node) -> str:
    """What the registry knows a node's operator by; a Custom operator goes by its op_type."""
    return f"Custom:{node.attrs.get('op_type', '')}" if node.op == "Custom" else node.op


def translations(graph: Graph) -> list[Operator | None]:
    """The operator of every node, None for variables. Raises: InputError listing all that are missing, at once."""
    names = [None if node.is_variable else registered_name(node) for node in graph.nodes]
    missing = Counter(name for name in names if name is not None and name not in REGISTRY)
    if missing:
        first = {
            name: next(n.name for n, own in zip(graph.nodes, names, strict=True) if own == name) for name in missing
        }
        listed = ", ".join(f"{name} ({count} nodes, first {first[name]})" for name, count in missing.most_common())
        remedy = HOW_TO_REGISTER.format(name=next(iter(first)))
        inner = {name for node, name in zip(graph.nodes, names, strict=True) if name in missing and node.subgraphs}
        if inner:
            remedy = f"{', '.join(sorted(inner))}: such a node holds a graph of its own; {WITHOUT_SUBGRAPHS}"
        raise InputError(f"this graph has {len(missing)} operators without a translation: {listed}; {remedy}")
    return [None if name is None else REGISTRY[name] for name in names]


def attributes_of(node: Node, found: Operator) -> dict[str, Any]:
    texts = {key: text for key, text in node.attrs.items() if not (node.op == "Custom" and key == "op_type")}
    return found.read_attributes({**inner_attributes(node), **texts}, f"node {node.name!r}")


class ModuleBuilder:
    """Builds the fx graph of one symbol."""

    def __init__(self, graph: Graph, found: list[Operator | None], params: Params, inputs: set[str] | None) -> None:
        self.graph, self.found, self.inputs = graph, found, inputs
        bare = {name: params.arg[name] for name in params.bare if name in params.arg}
        self.arg, self.aux = dict(params.arg), {**bare, **params.aux}
        self.fx = fx.Graph()
        self.root = nn.Module()
        self.values: dict[tuple[int, int], fx.Node] = {}
        self.paths: dict[str, str] = {}  # MXNet's name -> path in the module
        self.input_names: dict[str, str] = {}  # MXNet's name -> name of the call's argument
        self.training: fx.Node | None = None
        self.sparse_room = SPARSE_ROOM
        self.read: dict[int, set[int]] = {}  # node -> its outputs that others, or the graph's, read
        for entry in [*graph.heads, *(entry for node in graph.nodes for entry in node.inputs)]:
            self.read.setdefault(entry.node, set()).add(entry.output)

    def module(self) -> fx.GraphModule:
        self.variables()
        if any(each is not None and each.takes_training for each in self.found):
            self.training = self.fx.create_node("get_attr", "training")
        for place, (node, found) in enumerate(zip(self.graph.nodes, self.found, strict=True)):
            if found is not None:
                self.call(place, node, found)
        heads = tuple(self.value(head.node, head.output, "the graph's outputs") for head in self.graph.heads)
        self.fx.output(heads[0] if len(heads) == 1 else heads)
        module = ConvertedModule(self.root, self.fx, "MXNetGraph")
        module.meta[MODULE] = {
            "inputs": dict(self.input_names),
            "paths": dict(self.paths),
            "unused": sorted((self.arg.keys() | self.aux.keys()) - self.paths.keys()),
        }
        return module.eval()

    # Variables

    def variables(self) -> None:
        """Placeholders (required ones first) and parameters for all variables."""
        uses = self.uses()
        wanted = []
        missing: dict[str, str] = {}
        for place, node in enumerate(self.graph.nodes):
            if not node.is_variable:
                continue
            array = self.array_of(node)
            if array is None:
                role = self.role_of_missing(node, uses.get(place, []))
                missing |= {node.name: role} if role else {}
                wanted.append((all(optional for _, optional in uses.get(place, [])), place, node))
            else:
                self.parameter(place, node, array)
        check_present(missing, self.arg.keys() | self.aux.keys())
        for optional, place, node in sorted(wanted, key=lambda each: each[:2]):
            self.placeholder(place, node, optional and bool(uses.get(place)))

    def uses(self) -> dict[int, list[tuple[str, bool]]]:
        """Variable -> (name of the operator's input, whether it may be absent) for each use."""
        uses: dict[int, list[tuple[str, bool]]] = {}
        for node, found in zip(self.graph.nodes, self.found, strict=True):
            for position, entry in enumerate(node.inputs if found else ()):
                name = found.input_name(position)
                uses.setdefault(entry.node, []).append((name, name in found.optional and name not in LEARNED))
        for head in self.graph.heads:
            uses.setdefault(head.node, []).append(("", False))
        return uses

    def array_of(self, node: Node) -> np.ndarray | Sparse | None:
        if self.inputs is not None and node.name in self.inputs:
            return None
        first, second = (self.aux, self.arg) if node.aux else (self.arg, self.aux)
        return first.get(node.name, second.get(node.name))

    def role_of_missing(self, node: Node, uses: list[tuple[str, bool]]) -> str | None:
        """What the graph reads an array as that no caller gives, so that the file should have it; None for an input."""
        if self.inputs is not None and node.name in self.inputs:
            return None
        return next((name for name, _ in uses if name in LEARNED), None)

    def parameter(self, place: int, node: Node, array: np.ndarray | Sparse) -> None:
        if node.name not in self.paths:
            tensor = to_tensor(self.dense(node.name, array) if isinstance(array, Sparse) else array)
            self.paths[node.name] = self.register(node.name, tensor, node.aux)
        self.values[place, 0] = self.fx.create_node("get_attr", self.paths[node.name])
        self.values[place, 0].meta[NODE] = node

    def dense(self, name: str, sparse: Sparse) -> np.ndarray:
        """[*shape]. Raises: InputError where the file's sparse arrays together stand for far more than it stores."""
        whole = math.prod(max(side, 1) for side in sparse.shape) * sparse.dtype.itemsize
        self.sparse_room -= max(whole - DENSE_TO_STORED * sparse.data.nbytes, 0)
        if self.sparse_room < 0:
            raise InputError(
                f"{name}: the file has a sparse array of shape {list(sparse.shape)}, {whole} bytes when dense, and stores "
                f"{sparse.data.nbytes}; expected at most {DENSE_TO_STORED} times as many, and {SPARSE_ROOM} more in all: "
                "is the file damaged? If not, save it again in MXNet with tostype('default')"
            )
        return sparse.to_dense()

    def register(self, name: str, tensor: torch.Tensor, aux: bool) -> str:
        """Hangs a tensor into the module under its MXNet name, dots making submodules, up to MAX_DOTS. Returns its path."""
        safe = name if SAFE_NAME.fullmatch(name) else re.sub(r"[^\w.]", "_", name, flags=re.ASCII)
        safe = safe if safe.count(".") <= MAX_DOTS else safe.replace(".", "_")
        *outer, own = [f"{part}_" if keyword.iskeyword(part) else part or "_" for part in safe.split(".")]
        holder, path = self.root, []
        for part in outer:
            while part in OWN_ATTRIBUTES or not isinstance(getattr(holder, part, nn.Module()), nn.Module):
                part += "_"
            if not hasattr(holder, part):
                holder.add_module(part, nn.Module())
            holder = getattr(holder, part)
            path.append(part)
        while own in OWN_ATTRIBUTES or hasattr(holder, own):
            own += "_"
        if tensor.is_floating_point() and not aux:
            holder.register_parameter(own, nn.Parameter(tensor))
        else:
            holder.register_buffer(own, tensor)
        return ".".join([*path, own])

    def placeholder(self, place: int, node: Node, optional: bool) -> None:
        if node.name in self.input_names:
            same = self.input_names[node.name]
            self.values[place, 0] = next(each for each in self.fx.nodes if each.target == same)
            return
        name = re.sub(r"\W", "_", node.name, flags=re.ASCII)
        name = f"_{name}" if not name or name[0].isdigit() else name
        while keyword.iskeyword(name) or name == "self" or name in self.input_names.values():
            name += "_"
        self.input_names[node.name] = name
        default = {"default_value": None} if optional else {}
        self.values[place, 0] = self.fx.placeholder(name, **default)
        self.values[place, 0].meta[NODE] = node

    # Operators

    def call(self, place: int, node: Node, found: Operator) -> None:
        where = f"node {node.name!r}"
        arguments = [self.value(entry.node, entry.output, where) for entry in node.inputs]
        least = len([name for name in found.inputs if name not in found.optional]) - found.variadic
        if len(arguments) < max(least, int(found.variadic)) or (
            len(arguments) > len(found.inputs) and not found.variadic
        ):
            expected = ", ".join(found.inputs) or "no inputs"
            raise InputError(f"{where}: {found.name} takes {expected}; the file gives it {len(arguments)} inputs")
        values = attributes_of(node, found)
        count = found.outputs(values)
        if not 1 <= count <= MAX_OUTPUTS:
            raise InputError(
                f"{where}: {found.name} has {count} outputs by its attributes; expected 1 to {MAX_OUTPUTS}: "
                "is the symbol.json damaged?"
            )
        check_shapes(node, found, values, self.arrays_of(node, found))
        kwargs = {**values, "training": self.training} if found.takes_training else dict(values)
        made = self.fx.create_node("call_function", found.function, tuple(arguments), kwargs, name=node.name)
        made.meta[NODE] = node
        if count == 1:
            self.values[place, 0] = made
            return
        for index in sorted(each for each in self.read.get(place, ()) if each < count):
            self.values[place, index] = self.fx.create_node("call_function", python_operator.getitem, (made, index))

    def arrays_of(self, node: Node, found: Operator) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Input of the operator -> name and shape of the file's array that it is."""
        sources = [self.graph.nodes[entry.node] for entry in node.inputs]
        arrays = {
            found.input_name(place): self.array_of(each) for place, each in enumerate(sources) if each.is_variable
        }
        names = {found.input_name(place): each.name for place, each in enumerate(sources)}
        return {role: (names[role], tuple(array.shape)) for role, array in arrays.items() if array is not None}

    def value(self, node: int, output: int, where: str) -> fx.Node:
        if (node, output) not in self.values:
            source = self.graph.nodes[node]
            raise InputError(f"{where}: reads output {output} of {source.name!r} ({source.op}), which it does not have")
        return self.values[node, output]


def mxnet_names(module: fx.GraphModule) -> Mapping[str, str]:
    """MXNet's name of every parameter and buffer -> its path in a module that `convert` made."""
    return module.meta[MODULE]["paths"]


def input_names(module: fx.GraphModule) -> Mapping[str, str]:
    """MXNet's name of every input -> the name of the argument in a call of the module."""
    return module.meta[MODULE]["inputs"]
