"""What is known of a piece of source before the network runs: values, elements of lists, truth."""

import ast
import math
from typing import Any

import torch

from dcn_tasks.errors import InputError

LITERALS = (int, float, bool, str, type(None), type(...))


class Unscriptable(InputError):
    """A piece of an operator that cannot be written for torch.jit.script."""


def has_known(node: ast.AST) -> bool:
    return hasattr(node, "known")


def parts_of(node: ast.AST) -> list[ast.expr] | None:
    """The elements of a list or tuple of known length, each an expression; None for anything else."""
    if hasattr(node, "parts"):
        return list(node.parts)
    if has_known(node) and isinstance(node.known, (tuple, list, range)):
        return [literal(each) for each in node.known]
    return None


def literal(value: Any) -> ast.expr:
    """The node of a value; functions and modules keep a placeholder name until they are written out."""
    node: ast.expr
    if isinstance(value, float) and not math.isfinite(value):
        node = ast.parse(f"float({str(value)!r})", mode="eval").body
    elif isinstance(value, LITERALS):
        node = ast.Constant(value)
    elif isinstance(value, (tuple, list)):
        kind = ast.Tuple if isinstance(value, tuple) else ast.List
        node = kind([literal(each) for each in value], ast.Load())
    elif isinstance(value, slice):
        ends = (value.start, value.stop, value.step)
        node = ast.Slice(*[None if each is None else literal(each) for each in ends])
    elif isinstance(value, (torch.dtype, torch.memory_format)):
        node = ast.parse(str(value), mode="eval").body
    else:
        node = ast.Name("_", ast.Load())
    node.known = value
    return node


def display(parts: list[ast.expr], kind: type = ast.List) -> ast.expr:
    """A list or tuple of expressions; known where all of them are."""
    if all(has_known(each) for each in parts):
        return literal((list if kind is ast.List else tuple)(each.known for each in parts))
    node = kind(parts, ast.Load())
    node.parts = parts
    return node


def plain(value: Any) -> bool:
    """Whether a value is made of numbers and words alone."""
    return isinstance(value, LITERALS) or (isinstance(value, (tuple, list)) and all(map(plain, value)))


def truth(node: ast.expr) -> bool | None:
    """Whether a folded node is true; None where only running tells."""
    parts = parts_of(node)
    if parts is not None:
        return bool(parts)
    return bool(node.known) if has_known(node) else None
