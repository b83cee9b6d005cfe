"""A symbol.json of any MXNet age as a plain graph: nodes in order, their inputs, attributes and the outputs."""

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dcn_tasks.errors import InputError
from weights_convert.byte_cursor import AGAIN, map_file

MAX_JSON_BYTES = 256 << 20  # the largest real graphs have 2 MB
BEFORE_ATTRS = 800  # files without a version are taken as 0.8.0, as MXNet does
AUX_IN_JSON = 900  # before 0.9.0, auxiliary states are not in the file
AUX_STATES: dict[str, tuple[str, ...]] = {
    name: ("moving_mean", "moving_var") for name in ("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm")
}
AUX_STATES["IdentityAttachKLSparseReg"] = ("moving_avg",)
# Written without underscores before 0.9; today's files have them.
HIDDEN_KEYS = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")


@dataclass(frozen=True)
class Entry:
    """Output `output` of node number `node`."""

    node: int
    output: int


@dataclass(frozen=True)
class Node:
    """op: the operator's name, "null" for a variable. attrs: as text, user attributes as `__key__`.

    aux: this variable is an auxiliary state of its consumer (BatchNorm's statistics). subgraphs: of a fused node, as JSON.
    """

    op: str
    name: str
    attrs: dict[str, str] = field(default_factory=dict)
    inputs: tuple[Entry, ...] = ()
    aux: bool = False
    subgraphs: tuple[dict[str, Any], ...] = ()

    @property
    def is_variable(self) -> bool:
        return self.op == "null"


@dataclass(frozen=True)
class Graph:
    """nodes: in topological order; names may repeat, so everything goes by number. heads: the outputs.

    version: major*10000 + minor*100 + patch of the MXNet that wrote it; 800 where the file does not say.
    """

    nodes: list[Node]
    heads: list[Entry]
    version: int

    def op_counts(self) -> dict[str, int]:
        """Operator -> number of nodes, most frequent first, variables left out."""
        return dict(Counter(node.op for node in self.nodes if not node.is_variable).most_common())

    def variables(self, aux: bool | None = None) -> list[str]:
        return [node.name for node in self.nodes if node.is_variable and aux in (None, node.aux)]


def load_symbol(path: str | os.PathLike) -> Graph:
    """Read a symbol.json of MXNet 0.5 to 2.0, brought to one form.

    Attributes are looked up under `param`, `attr` and `attrs`, whichever the age used; hidden keys get their
    underscores; auxiliary states that files before 0.9 leave out are added as variables `NODE_moving_mean` and so on.
    Attribute values stay text; a pickled `cfg` among them is never loaded.

    Raises: InputError naming path, node and reason for JSON that is damaged or no graph.
    """
    buffer = map_file(path)
    if len(buffer) > MAX_JSON_BYTES:
        raise InputError(f"{path}: {len(buffer)} bytes; a graph has at most {MAX_JSON_BYTES}: give the symbol.json")
    return parse_symbol(buffer[:], path)


def parse_symbol(text: str | bytes, source: object = "symbol") -> Graph:
    """As load_symbol, of a symbol.json's text. source: how messages name it."""
    try:
        content = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: is no JSON ({error}); give the symbol.json that MXNet saved, or {AGAIN}") from None
    return GraphReader(source, content).graph()


class GraphReader:
    """Checks one parsed JSON document while turning it into a Graph."""

    def __init__(self, path: object, content: Any) -> None:
        self.path = path
        if not isinstance(content, dict) or not isinstance(content.get("nodes"), list):
            self.fail("has no list `nodes`")
        self.content = content
        self.version = self.read_version()

    def fail(self, reason: str) -> NoReturn:
        raise InputError(f"{self.path}: is no MXNet graph: {reason}; give the symbol.json that MXNet saved, or {AGAIN}")

    def read_version(self) -> int:
        attrs = self.content.get("attrs") or {}
        stated = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
        if stated is None:
            return BEFORE_ATTRS
        if not (isinstance(stated, list) and len(stated) == 2 and isinstance(stated[1], int)):
            self.fail(f'mxnet_version is {stated!r}, expected ["int", N]')
        return stated[1]

    def graph(self) -> Graph:
        nodes: list[Node] = []
        places: list[int] = []  # number in the file -> number in `nodes`, which may hold added variables before it
        aux_places: set[int] = set()
        for number, raw in enumerate(self.content["nodes"]):
            op, name = self.op_and_name(raw, number)
            inputs, aux = self.entries(raw.get("inputs", []), places, f"node {number} {name!r}")
            inputs += self.missing_aux(op, name, nodes)
            aux_places |= aux | {entry.node for entry in inputs[len(inputs) - len(AUX_STATES.get(op, ())) :]}
            places.append(len(nodes))
            subgraphs = self.subgraphs(raw, number)
            nodes.append(Node(op, name, self.attributes(raw, number), tuple(inputs), subgraphs=subgraphs))
        heads, _ = self.entries(self.content.get("heads", []), places, "heads")
        marked = [mark_aux(node, place in aux_places) for place, node in enumerate(nodes)]
        return Graph(marked, heads, self.version)

    def op_and_name(self, raw: Any, number: int) -> tuple[str, str]:
        if not isinstance(raw, dict) or not isinstance(raw.get("op"), str) or not isinstance(raw.get("name"), str):
            self.fail(f"node {number} has no op or no name")
        return raw["op"], raw["name"]

    def entries(self, raw: Any, places: list[int], where: str) -> tuple[list[Entry], set[int]]:
        """[[node, output(, version)], ...] as entries, and which of them are marked as auxiliary (version 1)."""
        found, aux = [], set()
        for item in raw if isinstance(raw, list) else [raw]:
            if not (isinstance(item, list) and len(item) in (2, 3) and all(type(part) is int for part in item)):
                self.fail(f"{where}: input {item!r}, expected [node, output, version]")
            node, output = item[0], item[1]
            if not 0 <= node < len(places) or output < 0:
                self.fail(f"{where}: input {item} points past the nodes before it ({len(places)})")
            found.append(Entry(places[node], output))
            if item[2:] == [1]:
                aux.add(places[node])
        return found, aux

    def missing_aux(self, op: str, name: str, nodes: list[Node]) -> list[Entry]:
        """Before 0.9: variables for the auxiliary states of `op`, appended to `nodes`."""
        if self.version >= AUX_IN_JSON or op not in AUX_STATES:
            return []
        added = []
        for state in AUX_STATES[op]:
            added.append(Entry(len(nodes), 0))
            nodes.append(Node("null", f"{name}_{state}"))
        return added

    def subgraphs(self, raw: dict, number: int) -> tuple[dict[str, Any], ...]:
        found = raw.get("subgraphs") or []
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.fail(f"node {number}: `subgraphs` is no list of graphs")
        return tuple(found)

    def attributes(self, raw: dict, number: int) -> dict[str, str]:
        merged: dict[str, str] = {}
        for key in ("param", "attr", "attrs"):
            part = raw.get(key) or {}
            if not isinstance(part, dict) or not all(isinstance(value, str) for value in part.values()):
                self.fail(f"node {number}: `{key}` is no table of texts")
            merged |= part
        return {(f"__{key}__" if key in HIDDEN_KEYS else key): value for key, value in merged.items()}


def mark_aux(node: Node, aux: bool) -> Node:
    return Node(node.op, node.name, node.attrs, node.inputs, True, node.subgraphs) if aux and node.is_variable else node
