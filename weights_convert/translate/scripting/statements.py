"""Statements of an operator's source: what its attributes decide is done here, the rest is written."""

import ast
from typing import Any

from weights_convert.translate.scripting.calls import Calls
from weights_convert.translate.scripting.values import Unscriptable, display, has_known, parts_of, truth

# TorchScript's words for types of parameters and variables.
SPELLED = {
    "list[int]": "List[int]",
    "tuple[int, ...]": "List[int]",
    "tuple[int, int]": "List[int]",
    "Tensor | None": "Tensor",
}


class Statements(Calls):
    """Writes statements to `body`. Names get new ones as they are set, so that each stands for one value; those that branches
    or loops of unknown course set are `pinned` and stay variables.
    """

    body: list[ast.stmt]

    def statements(self, nodes: list[ast.stmt]) -> bool:
        """Writes statements in turn. Returns: whether the last one leaves the function whatever comes in."""
        return any(
            getattr(self, f"write_{type(node).__name__}")(node) for node in nodes
        )  # in turn, up to the first that leaves

    def __getattr__(self, name: str) -> Any:
        if name.startswith("write_"):
            raise Unscriptable(f"{self.name}: a {name[6:]} cannot be written for it")
        raise AttributeError(name)

    def write_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.body.append(ast.Expr(self.fold(node.value)))

    def write_Return(self, node: ast.Return) -> bool:
        self.body.append(ast.Return(self.fold(node.value)))
        return True

    def write_Raise(self, node: ast.Raise) -> bool:
        self.body.append(ast.parse("raise ValueError('a value that this operator does not take')").body[0])
        return True

    def write_Assert(self, node: ast.Assert) -> None:
        self.body.append(ast.Assert(self.fold(node.test), None))

    def write_Assign(self, node: ast.Assign) -> None:
        value = self.fold(node.value)
        for target in node.targets:
            self.assign(target, value)

    def write_AnnAssign(self, node: ast.AnnAssign) -> None:
        value = self.fold(node.value)
        name = node.target.id
        self.forget(name)
        kind = SPELLED.get(ast.unparse(node.annotation), ast.unparse(node.annotation))
        self.body.append(ast.AnnAssign(ast.Name(name, ast.Store()), ast.Name(kind, ast.Load()), value, 1))

    def write_AugAssign(self, node: ast.AugAssign) -> None:
        loaded = ast.parse(ast.unparse(node.target), mode="eval").body
        self.assign(node.target, self.fold(ast.BinOp(loaded, node.op, node.value)))

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            self.take_apart(target, value)
        elif isinstance(target, ast.Subscript):
            self.kept(target.value.id)
            place = ast.Subscript(self.fold(target.value), self.fold(target.slice), ast.Store())
            self.body.append(ast.Assign([place], value, lineno=1))
        elif target.id in self.pinned:
            value = value if parts_of(value) is None else display(parts_of(value), ast.List)
            self.body.append(ast.Assign([ast.Name(target.id, ast.Store())], value, lineno=1))
            self.tensors.discard(target.id)
        elif has_known(value) or hasattr(value, "table"):
            self.names[target.id] = value
        elif parts_of(value) is not None:
            self.names[target.id] = display([self.stored(each) for each in parts_of(value)], type(value))
        else:
            self.names[target.id] = self.stored(value, target.id)

    def take_apart(self, target: ast.Tuple, value: ast.expr) -> None:
        parts = parts_of(value)
        if parts is None:
            own = [self.fresh(each.id) for each in target.elts]
            left = ast.Tuple([ast.Name(name, ast.Store()) for name in own], ast.Store())
            self.body.append(ast.Assign([left], value, lineno=1))
            parts = [ast.Name(name, ast.Load()) for name in own]
        elif len(parts) != len(target.elts):
            raise Unscriptable(f"`{ast.unparse(target)}` takes apart {len(parts)} values")
        parts = [each if has_known(each) else self.stored(each) for each in parts]
        for each, part in zip(target.elts, parts, strict=True):
            self.assign(each, part)

    def fresh(self, wanted: str) -> str:
        self.counter = self.__dict__.get("counter", 0) + 1
        return f"{wanted}_{self.counter}"

    def stored(self, value: ast.expr, wanted: str = "value") -> ast.expr:
        """A name for a value, so that it is computed once."""
        if has_known(value) or isinstance(value, ast.Name):
            return value
        if parts_of(value) is not None:
            return display([self.stored(each) for each in parts_of(value)], type(value))
        name = self.fresh(wanted)
        if self.is_list(value):
            self.lists.add(name)
        self.body.append(ast.Assign([ast.Name(name, ast.Store())], value, lineno=1))
        return ast.Name(name, ast.Load())

    def forget(self, name: str) -> None:
        self.names.pop(name, None)
        self.pinned.add(name)

    def kept(self, name: str) -> None:
        """From here on a variable of that name holds its value, which statements that only running decides may change."""
        if name in self.names:
            value = self.names[name]
            self.forget(name)
            self.body.append(ast.Assign([ast.Name(name, ast.Store())], value, lineno=1))
        self.pinned.add(name)

    def write_If(self, node: ast.If) -> bool:
        test = self.fold(node.test)
        decided = truth(test)
        if decided is not None:
            return self.statements(node.body if decided else node.orelse)
        for name in sorted(assigned([*node.body, *node.orelse])):
            self.kept(name)
        before, outer = dict(self.names), self.body
        branches, ends = [], []
        for nodes in (node.body, node.orelse):
            self.body, self.names = [], dict(before)
            ends.append(self.statements(nodes))
            branches.append(self.body or [ast.Pass()])
        self.body, self.names = outer, before
        self.body.append(ast.If(test, branches[0], branches[1] if node.orelse else []))
        return all(ends) and bool(node.orelse)

    def write_For(self, node: ast.For) -> bool:
        folded = self.fold(node.iter)
        over = parts_of(folded)
        if over is None:
            return self.kept_loop(node, folded)
        for each in over:
            self.bind(node.target, each)
            if self.statements(node.body):
                return True
        return False

    def kept_loop(self, node: ast.For, over: ast.expr) -> bool:
        """A loop of unknown length over one name stays a loop."""
        if not isinstance(node.target, ast.Name):
            raise Unscriptable(f"how often `for {ast.unparse(node.target)}` runs is not known")
        for name in sorted(assigned(node.body)):
            self.kept(name)
        self.forget(node.target.id)
        outer, self.body = self.body, []
        self.statements(node.body)
        inner, self.body = self.body, outer
        self.body.append(ast.For(ast.Name(node.target.id, ast.Store()), over, inner, [], lineno=1))
        return False

    def write_With(self, node: ast.With) -> bool:
        outer, self.body = self.body, []
        ended = self.statements(node.body)
        inner, self.body = self.body, outer
        items = [ast.withitem(self.fold(each.context_expr)) for each in node.items]
        self.body.append(ast.With(items, inner, lineno=1))
        return ended


def assigned(nodes: list[ast.stmt]) -> set[str]:
    return {
        each.id
        for node in nodes
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
