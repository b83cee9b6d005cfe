"""Expressions of an operator's source with its attributes known: what they decide is decided, the rest stays as source.

Every result is an AST node. One with a value has it in `known` (nodes that stand for functions and modules too); one that is a
list or tuple of known length has its elements in `parts`.
"""

import ast
import builtins
import operator
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from weights_convert.translate.scripting.values import Unscriptable, display, has_known, literal, parts_of, truth

OF_ONE = {ast.Not: operator.not_, ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert}
OF_TWO = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.MatMult: operator.matmul, ast.Pow: operator.pow,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda item, group: item in group, ast.NotIn: lambda item, group: item not in group,
}  # fmt: skip


class Expressions:
    """Folds expressions. names: local name -> the node it stands for. pinned: locals that only running tells.

    call_own: makes the call of another function of the package. outer: the function's globals.
    """

    def __init__(self, outer: dict[str, Any], call_own: Callable[..., ast.expr]) -> None:
        self.outer, self.call_own = outer, call_own
        self.names: dict[str, ast.expr] = {}
        self.pinned: set[str] = set()
        self.tensors: set[str] = set()  # parameters that are tensors, never None
        self.lists: set[str] = set()  # variables that are lists of whole numbers
        self.real: set[str] = set()  # tensors that have to be of floating point

    def fold(self, node: ast.expr) -> ast.expr:
        method = getattr(self, f"fold_{type(node).__name__}", None)
        if method is None:
            raise Unscriptable(f"`{ast.unparse(node)}` cannot be written for it")
        return method(node)

    def computed(self, rebuilt: ast.expr, children: list[ast.expr], compute: Callable[..., Any]) -> ast.expr:
        """A literal where all children are known, else the rebuilt node."""
        if all(has_known(each) for each in children):
            return literal(compute(*[each.known for each in children]))
        return rebuilt

    def fold_Constant(self, node: ast.Constant) -> ast.expr:
        return literal(node.value)

    def fold_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in self.pinned:
            return ast.Name(node.id, ast.Load())
        if node.id in self.outer:
            return literal(self.outer[node.id])
        if hasattr(builtins, node.id):
            return literal(getattr(builtins, node.id))
        return ast.Name(node.id, ast.Load())

    def fold_Attribute(self, node: ast.Attribute) -> ast.expr:
        base = self.fold(node.value)
        rebuilt = ast.Attribute(base, node.attr, ast.Load())
        return self.computed(rebuilt, [base], lambda value: getattr(value, node.attr))

    def fold_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.fold(node.operand)
        parts = parts_of(operand)
        if isinstance(node.op, ast.Not) and parts is not None:
            return literal(not parts)
        rebuilt = ast.UnaryOp(node.op, operand)
        return self.computed(rebuilt, [operand], OF_ONE[type(node.op)])

    def fold_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.fold(node.left), self.fold(node.right)
        first, second = parts_of(left), parts_of(right)
        if isinstance(node.op, ast.Add) and first is not None and second is not None:
            return display(first + second, ast.Tuple if isinstance(left, ast.Tuple) else ast.List)
        if isinstance(node.op, ast.Mult) and first is not None and has_known(right):
            return display(first * right.known, ast.Tuple if isinstance(left, ast.Tuple) else ast.List)
        rebuilt = ast.BinOp(left, node.op, right)
        return self.computed(rebuilt, [left, right], OF_TWO[type(node.op)])

    def fold_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [self.fold(each) for each in (node.left, *node.comparators)]
        if isinstance(node.ops[0], (ast.Is, ast.IsNot)) and has_known(sides[1]) and sides[1].known is None:
            tensor = isinstance(sides[0], ast.Name) and not has_known(sides[0]) and sides[0].id in self.tensors
            if tensor or parts_of(sides[0]) is not None:
                return literal(isinstance(node.ops[0], ast.IsNot))
        tests = [OF_TWO[type(each)] for each in node.ops]
        rebuilt = ast.Compare(sides[0], node.ops, sides[1:])
        return self.computed(
            rebuilt,
            sides,
            lambda *all_: all(test(*pair) for test, pair in zip(tests, pairwise(all_), strict=True)),
        )

    def fold_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        ends = isinstance(node.op, ast.Or)
        left: list[ast.expr] = []
        for place, each in enumerate(node.values):
            part = self.fold(each)
            parts = parts_of(part)
            known = bool(parts) if parts is not None else bool(part.known) if has_known(part) else None
            last = place == len(node.values) - 1
            if known is None or (last and not left):
                left.append(part)
            elif has_known(part) and part.known is ends:  # whatever comes before it
                return part
            elif known is ends:
                left.append(part)
                break
            elif last and not left:
                left.append(part)
        if not left:
            return literal(not ends)
        return left[0] if len(left) == 1 else ast.BoolOp(node.op, left)

    def fold_IfExp(self, node: ast.IfExp) -> ast.expr:
        test = self.fold(node.test)
        decided = truth(test)
        if decided is not None:
            return self.fold(node.body if decided else node.orelse)
        return ast.IfExp(test, self.fold(node.body), self.fold(node.orelse))

    def fold_Tuple(self, node: ast.Tuple) -> ast.expr:
        return display(self.spread(node.elts), ast.Tuple)

    def fold_List(self, node: ast.List) -> ast.expr:
        if node.elts and isinstance(node.elts[-1], ast.Starred):  # [a, b, *x] of any x is [a, b] + x
            last = self.fold(node.elts[-1].value)
            if parts_of(last) is None:
                first = self.spread(node.elts[:-1])
                return ast.BinOp(ast.List(first, ast.Load()), ast.Add(), self.as_list(last))
        return display(self.spread(node.elts), ast.List)

    def fold_Dict(self, node: ast.Dict) -> ast.expr:
        keys, values = [self.fold(each) for each in node.keys], [self.fold(each) for each in node.values]
        made = ast.Dict(keys, values)
        if all(has_known(each) for each in keys):
            made.table = {key.known: value for key, value in zip(keys, values, strict=True)}
        return made

    def fold_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        return literal("see the operator's page")  # of an error that a scripted network raises

    def spread(self, nodes: list[ast.expr]) -> list[ast.expr]:
        """Folded elements, with `*x` replaced by what x holds."""
        found: list[ast.expr] = []
        for each in nodes:
            if not isinstance(each, ast.Starred):
                found.append(self.fold(each))
                continue
            inner = parts_of(self.fold(each.value))
            if inner is None:
                raise Unscriptable(f"`{ast.unparse(each)}` has no known length")
            found += inner
        return found

    def fold_Slice(self, node: ast.Slice) -> ast.expr:
        ends = [None if each is None else self.fold(each) for each in (node.lower, node.upper, node.step)]
        made = ast.Slice(
            *[None if each is not None and has_known(each) and each.known is None else each for each in ends]
        )
        if all(each is None or has_known(each) for each in ends):
            made.known = slice(*[None if each is None else each.known for each in ends])
        return made

    def fold_Subscript(self, node: ast.Subscript) -> ast.expr:
        base, index = self.fold(node.value), self.fold(node.slice)
        parts = parts_of(base)
        if parts is not None and has_known(index):
            found = parts[index.known]
            return (
                display(found, ast.Tuple if isinstance(base, ast.Tuple) else ast.List)
                if isinstance(found, list)
                else found
            )
        if hasattr(base, "table") and has_known(index):
            return base.table[index.known]
        if has_known(base) and has_known(index):
            return literal(base.known[index.known])
        return ast.Subscript(base, index, ast.Load())
