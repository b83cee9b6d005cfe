"""Operators as functions that torch.jit.script takes: attributes are constants, branches that they decide are gone."""

import ast
import inspect
import linecache
import textwrap
import typing
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

import torch

from weights_convert.translate.scripting.statements import SPELLED, Statements
from weights_convert.translate.scripting.values import (
    LITERALS,
    display,
    has_known,
    literal,
    parts_of,
)

MADE = "weights_convert_scripted"  # module name of what is written here


class Library:
    """Every function written so far, under a name of its own."""

    def __init__(self) -> None:
        self.names: dict[tuple, str] = {}
        self.globals: dict[str, Any] = {"torch": torch, "Tensor": torch.Tensor, "List": typing.List, "__name__": MADE}  # noqa: UP006

    def specialised(
        self, function: FunctionType, known: Mapping[str, Any], counts: Mapping[str, int]
    ) -> tuple[str, list[str]]:
        """Writes a function with some parameters known. counts: of each variadic parameter, how many tensors it stands for.

        Returns: its name in `globals` and the parameters that are left, in order.
        """
        left = [name for name in inspect.signature(function).parameters if name not in known]
        key = (function, repr(sorted(known.items(), key=str)), repr(sorted(counts.items())))
        if key not in self.names:
            self.names[key] = name = f"{function.__name__}_{len(self.names)}"
            Writer(self, function, name, known, counts).write()
        return self.names[key], left

    def holding(self, value: Any) -> str:
        """The global name of a function or module that a text refers to."""
        wanted = getattr(value, "__name__", type(value).__name__).replace(".", "_")
        name = wanted
        number = 2
        while name in self.globals and self.globals[name] is not value:
            name, number = f"{wanted}_{number}", number + 1
        self.globals[name] = value
        return name

    def define(self, name: str, text: str) -> None:
        """Makes the function; its text goes where inspect finds it, since torch.jit.script reads it there."""
        file = f"<{MADE}.{name} {id(self)}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        code = next(each for each in compile(text, file, "exec").co_consts if isinstance(each, CodeType))
        self.globals[name] = FunctionType(code, self.globals, name)


class Writer(Statements):
    """Writes one function."""

    def __init__(
        self, library: Library, function: FunctionType, name: str, known: Mapping[str, Any], counts: Mapping[str, int]
    ) -> None:
        super().__init__({**function.__globals__}, self.own_call)
        self.library, self.function, self.name = library, function, name
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        assert isinstance(tree, ast.FunctionDef)
        self.tree = tree
        self.body: list[ast.stmt] = []
        self.parameters: list[tuple[str, str]] = []
        for each in inspect.signature(function).parameters.values():
            self.parameter(each, known, counts)

    def parameter(self, each: inspect.Parameter, known: Mapping[str, Any], counts: Mapping[str, int]) -> None:
        if each.name in known:
            self.names[each.name] = literal(known[each.name])
        elif each.name in counts:
            own = [f"{each.name}_{place}" for place in range(counts[each.name])]
            kind = "int" if "int" in annotation(each.annotation) else "Tensor"
            self.parameters += [(name, kind) for name in own]
            self.tensors |= set(own) if kind == "Tensor" else set()
            self.names[each.name] = display([ast.Name(name, ast.Load()) for name in own])
        else:
            kind = annotation(each.annotation)
            self.parameters.append((each.name, kind))
            self.pinned.add(each.name)
            if kind in ("Tensor", "List[int]"):
                (self.tensors if kind == "Tensor" else self.lists).add(each.name)

    def write(self) -> None:
        self.statements(self.tree.body)
        checks = [ast.parse(f"assert {name}.is_floating_point(), 'expected floating-point numbers'").body[0]
                  for name in sorted(self.real)]  # fmt: skip
        arguments = ast.arguments(
            [], [ast.arg(name, ast.Name(kind, ast.Load())) for name, kind in self.parameters], None, [], [], None, []
        )
        made = ast.FunctionDef(self.name, arguments, [*checks, *self.body], [], None, lineno=1, type_params=[])
        text = ast.unparse(ast.fix_missing_locations(Spelled(self.library).visit(made)))
        self.library.define(self.name, text + "\n")

    def own_call(self, function: FunctionType, arguments: list[ast.expr], keywords: dict[str, ast.expr]) -> ast.expr:
        bound = inspect.signature(function).bind(*arguments, **keywords)
        bound.apply_defaults()
        known, counts, rest = {}, {}, []
        for name, value in bound.arguments.items():
            kind = inspect.signature(function).parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                counts[name] = len(value)
                rest += list(value)
            elif not isinstance(value, ast.AST):
                known[name] = value
            elif has_known(value):
                known[name] = value.known
            elif parts_of(value) is not None:
                rest += parts_of(value)
                counts[name] = len(parts_of(value))
            else:
                rest.append(value)
        made, _ = self.library.specialised(function, known, counts)
        return ast.Call(ast.Name(made, ast.Load()), rest, [])


class Spelled(ast.NodeTransformer):
    """Gives known values their text: functions become globals, empty lists say what they hold."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def visit(self, node: ast.AST) -> Any:
        if has_known(node) and not isinstance(node, ast.Slice):
            value = node.known
            if value == [] or value == ():
                return ast.parse("torch.jit.annotate(List[int], [])", mode="eval").body
            if not isinstance(value, (*LITERALS, tuple, list, slice, torch.dtype, torch.memory_format)):
                return ast.Name(self.library.holding(value), ast.Load())
        return self.generic_visit(node)


def annotation(given: Any) -> str:
    text = given if isinstance(given, str) else getattr(given, "__name__", str(given))
    text = str(given) if "[" in str(given) or "|" in str(given) else text
    text = text.replace("torch.Tensor", "Tensor")
    return SPELLED.get(text, "torch.dtype" if text == "dtype" else text)
