"""What MXNet 1.9.1 changes in a graph of an older MXNet when it loads it, beyond what the reader does for every graph."""

from dataclasses import replace

from weights_convert.graph import HIDDEN_KEYS, Graph, Node
from weights_convert.translate.registry import REGISTRY

LAST_AXIS_IS_ALL = 905  # before 0.9.5, axis -1 of argmax and argmin meant the flattened array
OWN_AGE = 10901  # MXNet 1.9.1 leaves its own files as they are


def brought_up(graph: Graph) -> Graph:
    """The graph as MXNet 1.9.1 has it after loading; one of its own age or newer comes back as it is."""
    if graph.version >= OWN_AGE:
        return graph
    nodes = list(graph.nodes)
    for place, node in enumerate(nodes):
        attrs = dict(node.attrs)
        if graph.version < LAST_AXIS_IS_ALL and node.op in ("argmax", "argmin") and attrs.get("axis") == "-1":
            del attrs["axis"]
        for key in [key for key in attrs if key.endswith(tuple(f"_{hidden}" for hidden in HIDDEN_KEYS))]:
            give_to_variable(nodes, node, key, attrs)
        if attrs != node.attrs:
            nodes[place] = replace(node, attrs=attrs)
    return replace(graph, nodes=nodes)


def give_to_variable(nodes: list[Node], node: Node, key: str, attrs: dict[str, str]) -> None:
    """`weight_lr_mult` of a convolution is its weight's `__lr_mult__`; a key that names no variable stays."""
    hidden = next(each for each in HIDDEN_KEYS if key.endswith(f"_{each}"))
    found = REGISTRY.get(node.op)
    for position, entry in enumerate(node.inputs):
        owner = nodes[entry.node]
        if found and owner.is_variable and found.input_name(position) == key.removesuffix(f"_{hidden}"):
            nodes[entry.node] = replace(owner, attrs={**owner.attrs, f"__{hidden}__": attrs.pop(key)})
            return
