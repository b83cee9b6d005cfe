"""The nodes of a converted module as nested blocks, found by the scopes in their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import fx

from weights_convert.translate.module import NODE

SMALLEST = 3  # calls; fewer stay where they are
SEPARATOR = re.compile(r"[_./]")


@dataclass
class Block:
    """scope: its name within the block around it. items: calls and blocks, in order."""

    scope: str
    items: list["fx.Node | Block"] = field(default_factory=list)

    def calls(self) -> list[fx.Node]:
        """All calls inside, in order."""
        return [each for item in self.items for each in (item.calls() if isinstance(item, Block) else [item])]


def name_of(node: fx.Node) -> str:
    source = node.meta.get(NODE)
    return source.name if source is not None else node.name


def blocks(calls: Sequence[fx.Node]) -> Block:
    """The whole graph as a block of blocks: runs of calls whose names share a scope."""
    return Block("", grouped(list(calls), 0))


def grouped(calls: list[fx.Node], depth: int) -> list["fx.Node | Block"]:
    items: list[fx.Node | Block] = []
    start = 0
    while start < len(calls):
        scope = scope_at(calls[start], depth)
        end = start + 1
        while end < len(calls) and scope is not None and scope_at(calls[end], depth) == scope:
            end += 1
        run = calls[start:end]
        if scope is None or len(run) < SMALLEST:
            items += run
        else:
            inner = grouped(run, depth + 1)
            whole = len(run) == len(calls)
            items += inner if whole and depth else [Block(scope, inner)]
        start = end
    return items


def scope_at(node: fx.Node, depth: int) -> str | None:
    """Part number `depth` of a node's name; None where the name has nothing after it."""
    parts = [part for part in SEPARATOR.split(name_of(node)) if part]
    return parts[depth] if depth + 1 < len(parts) and parts[depth].isidentifier() else None
