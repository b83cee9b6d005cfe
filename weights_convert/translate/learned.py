"""Whether a parameter file belongs to a graph: every learned array is there, in the shape that its node states."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from dcn_tasks.errors import InputError
from weights_convert.graph import Node
from weights_convert.translate.operators.dense import CHANNELS_LAST
from weights_convert.translate.registry import Operator

Shape = tuple[int, ...]
ANY = -1


def check_present(missing: Mapping[str, str], there: Collection[str]) -> None:
    """Args: missing: arrays that the file lacks -> what the graph reads each as. there: the file's names.

    Raises: InputError naming the first of them, and what the file has instead.
    """
    if not missing:
        return
    name, role = next(iter(missing.items()))
    others = f", nor {len(missing) - 1} others that the graph needs" if len(missing) > 1 else ""
    has = f"it has {', '.join(sorted(there)[:3])}{', ...' if len(there) > 3 else ''}" if there else "it has no arrays"
    remedy = "give the file that belongs to this graph, or name it in `inputs`"
    if any("." in each for each in there) and not any("." in each for each in missing):
        remedy = "these are names of Gluon's save_parameters: use export() in MXNet, whose files have the graph's names"
    elif any(each.startswith(("arg:", "aux:")) for each in there):
        remedy = "these have their prefix twice: take one off"
    raise InputError(
        f"{name}: the graph reads it as {role}, and the parameter file does not have it{others}; {has}; {remedy}"
    )


def check_shapes(
    node: Node, found: Operator, values: Mapping[str, Any], arrays: Mapping[str, tuple[str, Shape]]
) -> None:
    """Args: arrays: input of the operator -> (the array's name, its shape), for those that the file has.

    Raises: InputError naming the array, its shape, the node and what that states.
    """
    wanted = WANTED.get(found.name)
    if wanted is None:
        return
    shapes = wanted(values, {role: shape for role, (_, shape) in arrays.items()})
    for role, expected in shapes.items():
        name, shape = arrays.get(role, ("", expected))
        if len(shape) != len(expected) or any(
            want not in (ANY, own) for own, want in zip(shape, expected, strict=True)
        ):
            text = ", ".join("any" if side == ANY else str(side) for side in expected)
            raise InputError(
                f"{name}: the file has {list(shape)}, and {node.op} {node.name!r} wants [{text}] for its {role}: "
                "is this the parameter file of this graph?"
            )


def convolution_shapes(values: Mapping[str, Any], _: Mapping[str, Shape]) -> dict[str, Shape]:
    sides, filters = (ANY, *values["kernel"]), values["num_filter"]
    if values.get("layout") in CHANNELS_LAST:
        sides = (*values["kernel"], ANY)
    return {"weight": (filters, *sides), "bias": (filters,)}


def deconvolution_shapes(values: Mapping[str, Any], _: Mapping[str, Shape]) -> dict[str, Shape]:
    filters, own = values["num_filter"], values["num_filter"] // values.get("num_group", 1)
    bias = {"bias": (filters,)} if values.get("no_bias") is False else {}
    if values.get("layout") in CHANNELS_LAST:
        return bias | {"weight": (ANY, *values["kernel"], own)}
    return bias | {"weight": (ANY, own, *values["kernel"])}


def dense_shapes(values: Mapping[str, Any], _: Mapping[str, Shape]) -> dict[str, Shape]:
    return {"weight": (values["num_hidden"], ANY), "bias": (values["num_hidden"],)}


def embedding_shapes(values: Mapping[str, Any], _: Mapping[str, Shape]) -> dict[str, Shape]:
    return {"weight": (values["input_dim"], values["output_dim"])}


def channel_shapes(_: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """All as long as the first of them."""
    lengths = [shape for role, shape in shapes.items() if role != "data"]
    return {role: lengths[0][:1] for role in shapes if role != "data"}


WANTED: dict[str, Callable[[Mapping[str, Any], Mapping[str, Shape]], dict[str, Shape]]] = {
    "Convolution": convolution_shapes,
    "Deconvolution": deconvolution_shapes,
    "FullyConnected": dense_shapes,
    "Embedding": embedding_shapes,
    "BatchNorm": channel_shapes,
}
