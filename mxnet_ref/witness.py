"""MXNet as a witness: a graph run end to end with every activation handed out, and single nodes run on given inputs.

An entry is one array that flows between nodes; its key is the node's name, with `:index` where the node has several
outputs ("custom0:2"). Variables are entries too.
"""

import ctypes
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import mxnet as mx
import numpy as np
from mxnet.base import NDArrayHandle

from mxnet_ref.notices import without_binding_notices
from mxnet_ref.operators import raise_failure, with_cpu_backward

Arrays = dict[str, np.ndarray]
Sink = Callable[[str, np.ndarray], None]
HeadGradients = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Node:
    """One operator of a graph. inputs, outputs: entry keys, in the operator's order; aux: names of auxiliary states."""

    name: str
    op: str
    attrs: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Witness:
    """A symbol, its parameters and inputs, in one precision.

    Args:
        symbol: mx.sym.Symbol, built for `dtype`.
        arg, aux: parameters and auxiliary states by name, NumPy.
        dtype: "float32" or "float64"; everything is cast to it.
    """

    def __init__(self, symbol: mx.sym.Symbol, arg: Mapping[str, np.ndarray], aux: Mapping[str, np.ndarray], dtype: str):
        self.symbol, self.dtype = symbol, dtype
        self.arg, self.aux = dict(arg), dict(aux)
        self.json = json.loads(symbol.tojson())
        self.auxiliary = set(symbol.list_auxiliary_states())
        nodes, self.keys_of = graph_nodes(symbol)
        self.nodes = {node.name: node for node in nodes}
        places = [place for place, node in enumerate(self.json["nodes"]) if node["op"] != "null"]
        self.name_at = dict(zip(places, self.nodes, strict=True))
        self.place = {name: place for place, name in self.name_at.items()}

    def chain(self, inputs: Mapping[str, np.ndarray], *, is_train: bool, grad: bool, sink: Sink) -> Arrays:
        """Runs the whole graph; every entry goes to `sink(key, array)` as soon as it is computed.

        Returns: gradients of every parameter when `grad`, from head gradients of 1 (the training graphs' losses put
            their own in the place of those); else nothing.
        """
        values = {**self.arg, **inputs}
        names = self.symbol.list_arguments()
        args = {name: self.array(values[name]) for name in names}
        grads = {name: mx.nd.zeros_like(args[name]) for name in names if grad and name in self.arg}
        executor = bound(
            self.symbol if grad else self.with_every_output(),
            args,
            grads,
            {name: self.array(self.aux[name]) for name in self.auxiliary},
        )
        waiting = {name: list(keys) for name, keys in self.keys_of.items()}

        def watch(name: bytes | str, handle: int) -> None:
            # the handle is ours to free, also of an array that nobody asked for
            array = mx.nd.NDArray(ctypes.cast(handle, NDArrayHandle), writable=False)
            keys = waiting.get(name.decode() if isinstance(name, bytes) else name)
            if keys:  # nodes of the backward pass have other names, or come when nothing waits any more
                sink(keys.pop(0), array.asnumpy())

        executor.set_monitor_callback(watch)
        outputs = executor.forward(is_train=is_train)
        if grad:
            executor.backward([mx.nd.ones_like(output) for output in outputs])
        mx.nd.waitall()
        raise_failure()
        return {name: gradient.asnumpy() for name, gradient in grads.items()}

    def with_every_output(self) -> mx.sym.Symbol:
        """The graph with those outputs of its nodes as outputs that no node reads: MXNet does not compute them otherwise."""
        several = {node.name for node in self.nodes.values() if len(node.outputs) > 1}
        unread = [each for each in self.symbol.get_internals() if each.name in several]
        return mx.sym.Group([*self.symbol, *unread])

    def run(
        self,
        nodes: Sequence[str],
        inputs: Mapping[str, np.ndarray],
        head_gradients: HeadGradients | None,
        *,
        wanted: Iterable[str] = (),
        is_train: bool,
    ) -> tuple[list[np.ndarray], Arrays]:
        """Runs some nodes alone, as one small graph that ends in the last of them.

        Args:
            nodes: names, in the graph's order; a node may read the outputs of those before it.
            inputs: values of the entries that come from outside. Parameters are this witness's own.
            head_gradients: outputs of the last node -> one gradient each; None: forward only.
            wanted: entry keys and parameter names whose gradient is wanted.
        Returns: outputs of the last node, gradients by key.
        """
        symbol, keys = self.excerpt(nodes)
        values = {name: self.array(inputs[key] if key in inputs else self.arg[key]) for name, key in keys.items()}
        wanted = set(wanted) if head_gradients is not None else set()
        names = {name: key for name, key in keys.items() if key in wanted}
        grads = {name: mx.nd.zeros_like(values[name]) for name in names}
        states = {name: self.array(self.aux[name]) for name in symbol.list_auxiliary_states()}
        executor = bound(symbol, values, grads, states)
        results = [output.asnumpy() for output in executor.forward(is_train=is_train)]
        if grads:
            executor.backward([self.array(gradient) for gradient in head_gradients(results)])
        raise_failure()
        return results, {key: grads[name].asnumpy() for name, key in names.items()}

    def excerpt(self, nodes: Sequence[str]) -> tuple[mx.sym.Symbol, dict[str, str]]:
        """The nodes as a symbol of their own. Returns: symbol, key by argument name."""
        places = [self.place[name] for name in nodes]
        new_nodes: list[dict] = []
        arguments: dict[str, str] = {}
        moved: dict[tuple[int, int], list[int]] = {}
        for place in places:
            node = self.json["nodes"][place]
            sources = []
            for source, index, *_ in node["inputs"]:
                if (source, index) not in moved:
                    key = self.key(source, index)
                    name = key if key in self.auxiliary else key.replace(":", "_of_")
                    moved[source, index] = [len(new_nodes), 0, 0]
                    new_nodes.append({"op": "null", "name": name, "inputs": []})
                    if key not in self.auxiliary:
                        arguments[name] = key
                sources.append(moved[source, index])
            for index in range(len(self.nodes[self.name_at[place]].outputs)):
                moved[place, index] = [len(new_nodes), index, 0]
            new_nodes.append({**node, "inputs": sources})
        last = places[-1]
        content = {
            "nodes": new_nodes,
            "arg_nodes": [index for index, node in enumerate(new_nodes) if node["op"] == "null"],
            "heads": [moved[last, index] for index in range(len(self.nodes[nodes[-1]].outputs))],
            "attrs": self.json["attrs"],
        }
        return mx.sym.load_json(json.dumps(content)), arguments

    def key(self, place: int, index: int) -> str:
        node = self.json["nodes"][place]
        return node["name"] if node["op"] == "null" else self.nodes[self.name_at[place]].outputs[index]

    def array(self, value: np.ndarray) -> mx.nd.NDArray:
        return mx.nd.array(value, dtype=self.dtype)


def graph_nodes(symbol: mx.sym.Symbol) -> tuple[list[Node], dict[str, list[str]]]:
    """The operators of a symbol in its order, and by the name that MXNet gives an output, the keys it stands for.

    The original gives one name to two nodes of its test graphs (bbox_pred_reshape); the second is NAME#2 here.
    """
    content = json.loads(symbol.tojson())["nodes"]
    variables = set(symbol.list_inputs())
    internals = symbol.get_internals()
    visible = [(name, each.name) for name, each in zip(internals.list_outputs(), internals, strict=True)]
    visible = [pair for pair in visible if pair[0] not in variables]
    names: dict[int, str] = {}
    outputs: dict[int, list[str]] = {}
    keys_of: dict[str, list[str]] = {}
    for place, node in enumerate(content):
        if node["op"] == "null":
            names[place], outputs[place] = node["name"], [node["name"]]
            continue
        same = sum(name.partition("#")[0] == node["name"] for name in names.values())
        names[place] = f"{node['name']}#{same + 1}" if same else node["name"]
        own: list[str] = []
        while visible and visible[0][1] == node["name"] and visible[0][0] not in own:
            own.append(visible.pop(0)[0])
        outputs[place] = [f"{names[place]}:{index}" for index in range(len(own))] if len(own) > 1 else [names[place]]
        for name, key in zip(own, outputs[place], strict=True):
            keys_of.setdefault(name, []).append(key)
    nodes = [
        Node(
            names[place],
            node["op"],
            {name: value for name, value in node.get("attrs", {}).items() if name != "cfg"},
            tuple(outputs[source][index] for source, index, *_ in node["inputs"]),
            tuple(outputs[place]),
        )
        for place, node in enumerate(content)
        if node["op"] != "null"
    ]
    return nodes, keys_of


def bound(
    symbol: mx.sym.Symbol,
    args: dict[str, mx.nd.NDArray],
    grads: dict[str, mx.nd.NDArray],
    aux: dict[str, mx.nd.NDArray],
) -> mx.executor.Executor:
    """The graph bound on the CPU, with gradients for the arguments that `grads` names."""
    wanted = {name: "write" if name in grads else "null" for name in args}
    symbol = with_cpu_backward(symbol) if grads else symbol
    with without_binding_notices():
        return symbol.bind(mx.cpu(), args, args_grad=grads or None, grad_req=wanted, aux_states=aux)
