"""What a converted module computes: every output of every MXNet node, and the graph's own outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import fx

from dcn_suite.parity.whole_numbers import QUANTIZE, with_their_halves
from weights_convert.translate.module import NODE, input_names

Key = tuple[str, int, int]  # node, which of the nodes of that name, output
Outputs = Mapping[Key, np.ndarray]
TYPES = {"float32": torch.float32, "float64": torch.float64}


class Watcher(fx.Interpreter):
    """Runs a converted module and keeps every output of every MXNet node.

    theirs: MXNet's outputs; its order among equal values is taken over from its sorting operators. single: those of its
    float32 run; whole numbers are taken over where ours lie on a half. apart: how many elements that were, by output.
    """

    def __init__(self, module: fx.GraphModule, theirs: Outputs | None = None, single: Outputs | None = None) -> None:
        super().__init__(module)
        self.found: dict[Key, np.ndarray] = {}
        self.keys = node_keys(module)
        self.theirs = theirs or {}
        self.single = single
        self.apart: dict[Key, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n in self.keys:
            result = self.with_their_ties(n, result)
            if n.meta[NODE].op == QUANTIZE:
                result = self.with_their_whole_numbers(n, result)
            name, occurrence = self.keys[n]
            for index, each in enumerate(result if isinstance(result, tuple) else (result,)):
                self.found[name, occurrence, index] = each.detach().numpy()
        return result

    def with_their_ties(self, node: fx.Node, result: Any) -> Any:
        """MXNet's places in the stead of ours where both have the same values in the same order, element by element."""
        kind = node.meta[NODE].op
        output = {"argsort": 0, "topk": {"indices": 0, "both": 1}.get(node.kwargs.get("ret_typ", "indices"))}.get(kind)
        places = self.theirs.get((*self.keys[node], output))
        if output is None or places is None:
            return result
        (data,), kwargs = self.fetch_args_kwargs_from_env(node)
        axis = kwargs.get("axis", -1)
        rows, along = (data.flatten(), 0) if axis is None else (data, axis)
        own = result[output] if isinstance(result, tuple) else result
        other = torch.from_numpy(np.array(places)).to(own.dtype)
        if other.shape != own.shape or not same_values(rows, along, own.long(), other.long()):
            return result
        return (*result[:output], other, *result[output + 1 :]) if isinstance(result, tuple) else other

    def with_their_whole_numbers(self, node: fx.Node, result: tuple) -> tuple:
        """As whole_numbers.with_their_halves; a graph's input is the same in both, and needs nothing taken over."""
        source = node.args[0]
        if self.single is None or source not in self.keys:
            return result
        (data,), kwargs = self.fetch_args_kwargs_from_env(node)
        key = self.keys[node]
        theirs = [self.single[(*key, index)] for index in range(len(result))]
        their_data = self.single[(*self.keys[source], 0)]
        result, self.apart[(*key, 0)] = with_their_halves(data, result, their_data, theirs, **kwargs)
        return result


def same_values(rows: torch.Tensor, axis: int, own: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two lists of places along an axis, neither naming a place twice, find equal values."""
    ordered = torch.sort(other, axis).values
    twice = (ordered.narrow(axis, 1, other.shape[axis] - 1) == ordered.narrow(axis, 0, other.shape[axis] - 1)).any()
    return not twice and torch.equal(rows.gather(axis, own), rows.gather(axis, other))


def node_keys(module: fx.GraphModule) -> dict[fx.Node, tuple[str, int]]:
    """fx node -> MXNet name and which of the nodes of that name, for every operator."""
    seen: dict[str, int] = {}
    keys = {}
    for each in module.graph.nodes:
        if each.op == "call_function" and NODE in each.meta:
            name = each.meta[NODE].name
            seen[name] = seen.get(name, -1) + 1
            keys[each] = (name, seen[name])
    return keys


def watched(
    module: fx.GraphModule,
    inputs: Mapping[str, np.ndarray],
    dtype: str,
    theirs: Outputs | None = None,
    single: Outputs | None = None,
) -> Watcher:
    """What saw every output of every node in one precision; the module comes back in the precision it had.

    theirs, single: see Watcher.
    """
    before = next((p.dtype for p in module.parameters()), torch.float32)
    names = input_names(module)
    module.to(TYPES[dtype])
    watcher = Watcher(module, theirs, single)
    placeholders = [each.target for each in module.graph.nodes if each.op == "placeholder"]
    given = {names[name]: as_tensor(value, dtype) for name, value in inputs.items() if name in names}
    try:
        with torch.no_grad():
            watcher.run(*[given.get(name) for name in placeholders])
    finally:
        module.to(before)
    return watcher


def as_tensor(value: np.ndarray, dtype: str) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(value))
    return tensor.to(TYPES[dtype]) if tensor.is_floating_point() else tensor


def outputs_in_order(module: fx.GraphModule, inputs: Mapping[str, np.ndarray], dtype: str) -> list[np.ndarray]:
    names = input_names(module)
    module.to(TYPES[dtype])
    with torch.no_grad():
        found = module(**{names[name]: as_tensor(value, dtype) for name, value in inputs.items() if name in names})
    module.to(torch.float32)
    return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]
