"""Calls and loops inside expressions: Python's own functions of known things are computed, loops of known length are unrolled."""

import ast
from types import FunctionType

import torch

from weights_convert.translate.scripting.expressions import Expressions
from weights_convert.translate.scripting.values import Unscriptable, display, has_known, literal, parts_of, plain, truth

PURE = {
    len,
    range,
    tuple,
    list,
    min,
    max,
    abs,
    int,
    float,
    sum,
    zip,
    enumerate,
    reversed,
    any,
    all,
    bool,
    sorted,
    divmod,
    str,
}


class Calls(Expressions):
    """Folds calls and comprehensions too."""

    # Loops inside expressions

    def fold_ListComp(self, node: ast.ListComp) -> ast.expr:
        unrolled = self.unrolled(node.elt, node.generators)
        if unrolled is not None:
            return display(unrolled, ast.List)
        (loop,) = node.generators
        if loop.ifs or not isinstance(loop.target, ast.Name):
            raise Unscriptable(f"`{ast.unparse(node)}` cannot be written for it")
        over = self.fold(loop.iter)
        kept = self.names.pop(loop.target.id, None)
        self.pinned.add(loop.target.id)
        made = ast.ListComp(self.fold(node.elt), [ast.comprehension(loop.target, over, [], 0)])
        if kept is not None:
            self.names[loop.target.id] = kept
        return made

    def fold_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        return self.fold_ListComp(ast.ListComp(node.elt, node.generators))

    def unrolled(self, element: ast.expr, loops: list[ast.comprehension]) -> list[ast.expr] | None:
        if not loops:
            return [self.fold(element)]
        loop, *rest = loops
        over = parts_of(self.fold(loop.iter))
        if over is None:
            return None
        found: list[ast.expr] = []
        before = dict(self.names)
        for each in over:
            self.bind(loop.target, each)
            tests = [truth(self.fold(test)) for test in loop.ifs]
            if None in tests:
                raise Unscriptable(f"which elements of `{ast.unparse(loop.iter)}` count is not known")
            if all(tests):
                inner = self.unrolled(element, rest)
                if inner is None:
                    return None
                found += inner
        self.names = before
        return found

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value
            return
        parts = parts_of(value)
        if parts is None or len(parts) != len(target.elts):
            raise Unscriptable(f"`{ast.unparse(target)}` takes apart what has no known length")
        for each, part in zip(target.elts, parts, strict=True):
            self.bind(each, part)

    # Calls

    def fold_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "is_floating_point":
            return self.floating(node)
        function = self.fold(node.func)
        arguments = self.spread(node.args)
        keywords = {}
        for each in node.keywords:
            given = self.fold(each.value)
            if each.arg is None:
                keywords |= given.table
            else:
                keywords[each.arg] = given
        if not has_known(function):
            return self.method(function, arguments, keywords)
        return self.known_call(function, arguments, keywords)

    def floating(self, node: ast.Call) -> ast.expr:
        """Scripted networks compute with floating-point numbers; what comes in is held to that."""
        tensor = self.fold(node.func.value)
        if isinstance(tensor, ast.Name) and tensor.id in self.tensors:
            self.real.add(tensor.id)
            return literal(True)
        return ast.Call(ast.Attribute(tensor, "is_floating_point", ast.Load()), [], [])

    def method(self, function: ast.expr, arguments: list[ast.expr], keywords: dict[str, ast.expr]) -> ast.expr:
        return ast.Call(function, arguments, [ast.keyword(key, value) for key, value in keywords.items()])

    def known_call(self, function: ast.expr, arguments: list[ast.expr], keywords: dict[str, ast.expr]) -> ast.expr:
        target = function.known
        given = [*arguments, *keywords.values()]
        bound = getattr(target, "__self__", None)
        if all(has_known(each) for each in given) and (
            target in PURE
            or isinstance(bound, (str, dict, tuple, list, slice))
            or getattr(target, "__module__", "") == "math"
        ):
            result = target(*[each.known for each in arguments], **{key: each.known for key, each in keywords.items()})
            return literal(list(result) if target in (zip, enumerate, reversed, range) else result)
        if target is torch.tensor and any(isinstance(each, ast.Tuple) for each in parts_of(arguments[0]) or ()):
            raise Unscriptable(f"torch.tensor of rows, `{ast.unparse(arguments[0])}`, is not there")
        special = getattr(self, f"call_{target.__name__}", None) if target in PURE else None
        if special is not None:
            return special(*arguments, **keywords)
        if isinstance(target, FunctionType) and not target.__module__.startswith("torch"):
            if plain([each.known for each in given if has_known(each)]) and all(has_known(each) for each in given):
                result = target(
                    *[each.known for each in arguments], **{key: each.known for key, each in keywords.items()}
                )
                if plain(result):
                    return literal(result)
            return self.call_own(target, arguments, keywords)
        return self.method(function, arguments, keywords)

    def call_len(self, value: ast.expr) -> ast.expr:
        parts = parts_of(value)
        return self.method(literal(len), [value], {}) if parts is None else literal(len(parts))

    def call_tuple(self, value: ast.expr) -> ast.expr:
        parts = parts_of(value)
        return self.as_list(value) if parts is None else display(parts, ast.Tuple)

    def call_list(self, value: ast.expr) -> ast.expr:
        parts = parts_of(value)
        return self.as_list(value) if parts is None else display(parts, ast.List)

    def as_list(self, value: ast.expr) -> ast.expr:
        """A list of unknown length: a shape is one, a range is made one."""
        if isinstance(value, ast.Call) and has_known(value.func) and value.func.known is range:
            each = ast.comprehension(ast.Name("each_", ast.Store()), value, [], 0)
            return ast.ListComp(ast.Name("each_", ast.Load()), [each])
        if not self.is_list(value):  # the rows of a tensor, say
            raise Unscriptable(f"`{ast.unparse(value)}` has no known length")
        return value

    def is_list(self, value: ast.expr) -> bool:
        """Whether an expression is a list of whole numbers, for all that is known."""
        if isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Slice):
            return self.is_list(value.value)
        shape = isinstance(value, ast.Attribute) and value.attr == "shape"
        return shape or isinstance(value, ast.ListComp) or (isinstance(value, ast.Name) and value.id in self.lists)

    def call_reversed(self, value: ast.expr) -> ast.expr:
        return display(self.needed(value)[::-1])

    def call_enumerate(self, value: ast.expr) -> ast.expr:
        return display([display([literal(place), each], ast.Tuple) for place, each in enumerate(self.needed(value))])

    def call_zip(self, *values: ast.expr, strict: ast.expr | None = None) -> ast.expr:
        lengths = {len(parts) for parts in map(parts_of, values) if parts is not None}
        if len(lengths) != 1:
            raise Unscriptable("lists joined by zip() have no known length")
        (length,) = lengths
        columns = [
            parts_of(each) or [ast.Subscript(each, literal(place), ast.Load()) for place in range(length)]
            for each in values
        ]
        return display([display(list(row), ast.Tuple) for row in zip(*columns, strict=True)])

    def call_any(self, value: ast.expr) -> ast.expr:
        return self.joined(value, ast.Or())

    def call_all(self, value: ast.expr) -> ast.expr:
        return self.joined(value, ast.And())

    def joined(self, value: ast.expr, op: ast.boolop) -> ast.expr:
        ends = isinstance(op, ast.Or)
        kept = []
        for each in self.needed(value):
            if truth(each) is ends:
                return literal(ends)
            if truth(each) is None:
                kept.append(each)
        if not kept:
            return literal(not ends)
        return kept[0] if len(kept) == 1 else ast.BoolOp(op, kept)

    def needed(self, value: ast.expr) -> list[ast.expr]:
        parts = parts_of(value)
        if parts is None:
            raise Unscriptable(f"`{ast.unparse(value)}` has no known length")
        return parts
