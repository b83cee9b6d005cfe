"""A converted module as one that torch.jit.script takes."""

import inspect
import operator as python_operator
import warnings
from types import FunctionType
from typing import Any

import torch
from torch import fx

from weights_convert.translate.operators import losses
from weights_convert.translate.registry import BY_FUNCTION
from weights_convert.translate.scripting.functions import Library
from weights_convert.translate.scripting.values import Unscriptable


def scriptable(module: fx.GraphModule) -> fx.GraphModule:
    """The same network with calls of functions that torch.jit.script takes; it shares parameters and buffers with `module`.

    Labels of losses are left out. Arithmetic with numbers takes floating-point arrays.
    Raises: Unscriptable (an InputError) naming node and operator of what cannot be scripted.
    """
    library = Library()
    graph = fx.Graph()
    made: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder" and node.args == (None,) and all(is_loss(each) for each in node.users):
            made[node] = None
        elif node.op == "placeholder":
            made[node] = graph.placeholder(node.target, torch.Tensor)
        elif node.op == "call_function" and node.target is not python_operator.getitem:
            made[node] = called(graph, library, node, made)
        else:
            made[node] = graph.node_copy(node, lambda each: made[each])
    return fx.GraphModule(module, graph, "ScriptableGraph")


def is_loss(node: fx.Node) -> bool:
    return getattr(node.target, "__module__", "") == losses.__name__


def called(graph: fx.Graph, library: Library, node: fx.Node, made: dict[fx.Node, Any]) -> fx.Node:
    """The call of one node, of a function written for torch.jit.script; PyTorch's own functions stay."""
    target = node.target
    if not isinstance(target, FunctionType) or target.__module__.startswith("torch"):
        return graph.node_copy(node, lambda each: made[each])
    name = BY_FUNCTION[target].name if target in BY_FUNCTION else target.__name__
    known, counts, left = told_apart(node, [made[each] if isinstance(each, fx.Node) else each for each in node.args])
    try:
        function = library.globals[library.specialised(target, known, counts)[0]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the caller's own call says it once
            torch.jit.script(function)
    except Exception as error:  # of this package, of Python's and of torch.jit's own kinds
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise Unscriptable(
            f"torch.jit.script: operator {name}, node {node.name!r}: {first}; use torch.jit.trace or torch.export, which take it"
        ) from error
    training = [made[node.kwargs["training"]]] if "training" in node.kwargs else []
    return graph.create_node("call_function", function, (*left, *training), name=node.name)


def told_apart(node: fx.Node, arguments: list) -> tuple[dict[str, Any], dict[str, int], list]:
    """Parameters with a value, counts of variadic ones, and the tensors that are left."""
    known = {key: value for key, value in node.kwargs.items() if key != "training"}
    counts, left, rest = {}, [], list(arguments)
    for each in inspect.signature(node.target).parameters.values():
        if each.kind is inspect.Parameter.VAR_POSITIONAL:
            counts[each.name] = len(rest)
            left, rest = left + rest, []
        elif each.kind is inspect.Parameter.KEYWORD_ONLY:
            if each.name != "training":
                known.setdefault(each.name, each.default)
        elif not rest or rest[0] is None:
            known[each.name] = None
            rest = rest[1:]
        else:
            left.append(rest.pop(0))
    return known, counts, left
