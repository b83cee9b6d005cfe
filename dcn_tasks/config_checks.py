"""What is refused in a configuration: unknown keys, keys set twice, values of another kind than the default's."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dcn_tasks.config_ranges import MAX_PIXELS, refuse_out_of_range
from dcn_tasks.errors import InputError
from dcn_tasks.schedule import steps_in_updates

FREE_FORM = ("expected",)  # groups whose keys are the experiment's own
LISTABLE = ("network.RPN_FEAT_STRIDE",)  # keys with a number, or one per level of a pyramid
# Keys whose default is null, and the kind of value they take otherwise.
NULLABLE: dict[str, Any] = {
    "network.DEFORM_CONV_UNITS": [],
    "network.DEFORM_ROI_POOLING": False,
    "network.HEAD_WIDTH": 1,
    "network.POOLED_SIZE": 1,
    "network.NUM_DEFORMABLE_GROUP": 1,
    "network.RES5_DILATION": 1,
    "network.OFFSET_DILATION": 1,
}


def refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    """Raises: InputError where a group gives a key two values; safe_load would keep the last one and say nothing.

    The original's file for Deformable FPN repeats two keys with the same values.
    """
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(
                    f"{path}, line {key.start_mark.line + 1}: expected a word as a key, got a list or a group"
                )
            before = seen.setdefault(key.value, value)
            if before is not value and yaml.serialize(before) != yaml.serialize(value):
                raise InputError(f"{path}, line {key.start_mark.line + 1}: {key.value} is set twice in one group")
            refuse_repeated_keys(value, path)


def merge(known: dict[str, Any], new: Mapping[str, Any], source: str, group: str = "") -> dict[str, Any]:
    """`new` over `known`, refusing keys that `known` does not have and values of another kind."""
    return _merge(known, new, source, group, all_keys(known, group))


def _merge(known: dict[str, Any], new: Mapping[str, Any], source: str, group: str, names: list[str]) -> dict[str, Any]:
    result = dict(known)
    for key, value in new.items():
        name = f"{group}{key}"
        if key not in known:
            raise InputError(f"{source}: unknown key {name}: did you mean {nearest_name(name, names)}?")
        if not group and key in FREE_FORM:
            result[key] = value
        elif isinstance(known[key], Mapping):
            if not isinstance(value, Mapping):
                raise InputError(f"{source}: {name}: expected a group of keys, got {value!r}")
            result[key] = _merge(known[key], value, source, f"{name}.", names)
        elif name in NULLABLE:
            result[key] = None if value is None else checked(NULLABLE[name], value, f"{source}: {name}")
        elif name in LISTABLE and isinstance(value, list):
            result[key] = value
        else:
            result[key] = checked(known[key], value, f"{source}: {name}")
    return result


def all_keys(values: Mapping[str, Any], group: str = "") -> list[str]:
    """Full names of all keys, e.g. "TRAIN.lr", groups too."""
    names = []
    for key, value in values.items():
        names.append(f"{group}{key}")
        if isinstance(value, Mapping) and key not in FREE_FORM:
            names += all_keys(value, f"{group}{key}.")
    return names


def nearest_name(name: str, names: list[str]) -> str:
    """The same key in another group or case, else the name spelt most alike."""
    leaf = name.rpartition(".")[2].casefold()
    same = [known for known in names if known.rpartition(".")[2].casefold() == leaf]
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0)
    return " or ".join(same) if same else folded[near[0]]


def checked(default: Any, value: Any, where: str) -> Any:
    """The value, if it is of the default's kind; numbers where text belongs (lr_step: 4.83) become that text."""
    if isinstance(default, bool):
        right = isinstance(value, bool)
    elif isinstance(default, int | float):
        right = isinstance(value, int | float) and not isinstance(value, bool)
    elif isinstance(default, str):
        right, value = isinstance(value, str | int | float), value if value is None else str(value)
    else:
        right = isinstance(value, list | tuple | np.ndarray)
    if not right:
        kind = next((name for type_, name in KINDS if isinstance(default, type_)), "a list")
        hint = number_hint(value) if kind == "a number" else ""
        raise InputError(f"{where}: expected {kind}, as in {default!r}, got {value!r}{hint}")
    return value


KINDS = ((bool, "true or false"), (int, "a number"), (float, "a number"), (str, "text"), (list | tuple, "a list"))


def number_hint(value: Any) -> str:
    """YAML 1.1 takes 1e-3 for text; say how to write it."""
    try:
        return f": YAML reads it as text, write {float(value)!r}" if isinstance(value, str) else ""
    except ValueError:
        return ""


def scales(value: Any, source: str) -> list[tuple[int, int]]:
    """SCALES as the original holds it: [(short side, limit of the long side)]."""
    pair = value[0] if len(value) == 1 and isinstance(value[0], list | tuple) else value
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise InputError(f"{source}: SCALES: expected [short side, longest side] in pixels, got {value!r}")
    if pair[0] * pair[1] > MAX_PIXELS:
        raise InputError(f"{source}: SCALES: expected at most {MAX_PIXELS} pixels together, got {value!r}")
    return [(pair[0], pair[1])]


def test_scales(value: Any, source: str) -> list[tuple[int, int]]:
    """TEST_SCALES as [(short side, limit of the long side), ...]; one pair alone is a list of one."""
    pairs = [value] if len(value) and not isinstance(value[0], list | tuple) else value
    try:
        return [scales(pair, source)[0] for pair in pairs]
    except (InputError, TypeError):
        raise InputError(
            f"{source}: TEST_SCALES: expected [[short side, longest side], ...] in pixels, at most {MAX_PIXELS} a pair, got {value!r}"
        ) from None


def refuse_unusable(values: Mapping[str, Any], source: str) -> None:
    """Raises: InputError for values of the right kind that nothing can be done with."""
    refuse_out_of_range(values, source)
    steps, names, prefix = values["TRAIN"]["lr_step"], values["dataset"]["CLASS_NAMES"], values["TRAIN"]["model_prefix"]
    if prefix and Path(prefix).name != prefix:
        raise InputError(
            f"{source}: TRAIN.model_prefix: expected a file's name without folders, got {prefix!r}: dcn train --output names the folder"
        )
    try:
        steps_in_updates(steps, 1)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{source}: TRAIN.lr_step: expected epochs, '4.83' or '4,6', got {steps!r}") from error
    for name in names:
        if not isinstance(name, str):
            raise InputError(
                f"{source}: dataset.CLASS_NAMES: expected words, got {name!r}: write it in quotes, YAML reads numbers, yes and no otherwise"
            )
