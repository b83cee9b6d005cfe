"""Configurations: one YAML per experiment, the original's keys, differences from a `_base_`, frozen after loading."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import yaml
from easydict import EasyDict

from dcn_tasks.errors import InputError

FREE_FORM = ("expected",)  # groups whose keys are the experiment's own
MAX_BYTES = 1 << 20  # of one YAML file
MAX_BASES = 8  # files in one chain of `_base_`
# Keys whose default is null, and the kind of value they take otherwise.
NULLABLE: dict[str, Any] = {"network.DEFORM_CONV_UNITS": [], "network.DEFORM_ROI_POOLING": False}


class Config(EasyDict):
    """A configuration as nested attributes, lists as tuples; frozen: `load_config(name, KEY=value)` makes a changed one.

    Raises: TypeError on every attempt to set, replace or delete a key.
    """

    def __init__(self, values: Mapping[str, Any] | None = None):
        for key, value in (values or {}).items():
            EasyDict.__setattr__(self, key, frozen(value))
        object.__setattr__(self, "_frozen", True)

    def __setattr__(self, key: str, value: Any) -> None:
        if self.__dict__.get("_frozen"):
            self._refuse()
        EasyDict.__setattr__(self, key, value)

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("config: frozen after loading; pass changes to load_config(name, KEY=value, GROUP__KEY=value)")

    __setitem__ = __setattr__
    __delattr__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict) -> "Config":
        return self  # frozen, all the way down

    def __reduce__(self) -> tuple:
        return (Config, (to_plain(self),))


def frozen(value: Any) -> Any:
    """Groups as Config and lists as tuples, all the way down."""
    if isinstance(value, Mapping):
        return Config(value)
    return tuple(frozen(item) for item in value) if isinstance(value, list | tuple) else value


def configs_root() -> Path:
    """The folder of shipped configurations: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    return next(
        (
            folder
            for folder in (package / "configs", package.parent / "configs")
            if (folder / "defaults.yaml").is_file()
        ),
        package.parent / "configs",
    )


def config_names() -> list[str]:
    """Names of the shipped configurations, e.g. "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem"."""
    root = configs_root()
    names = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))
    return sorted(name for name in names if name != "defaults" and not Path(name).name.startswith("_"))


def load_config(name_or_path: str | Path | Config, **overrides: Any) -> Config:
    """Read a configuration over the defaults.

    Args:
        name_or_path: a name of `config_names()`, a path to a YAML file, or a Config to change.
        overrides: top-level keys, or GROUP__KEY for a key of a group (network__BASE_WIDTH=16); groups also as dicts.
    Raises: InputError for a missing or broken file, an unknown key (with the nearest known name) or a value of a wrong kind.
    """
    if isinstance(name_or_path, Config):
        values, source = to_plain(name_or_path), "configuration"
    else:
        path = find_config(name_or_path)
        values, source = merge(read_yaml(configs_root() / "defaults.yaml"), read_with_bases(path), str(path)), str(path)
    values = merge(values, unflatten(overrides), f"overrides of {source}")
    values["SCALES"] = scales(values["SCALES"], source)
    values["network"]["PIXEL_MEANS"] = np.asarray(values["network"]["PIXEL_MEANS"], np.float64)
    values["network"]["PIXEL_MEANS"].setflags(write=False)
    return Config(values)


def to_plain(value: Any) -> Any:
    """A configuration as dicts, lists and scalars that YAML and JSON can hold."""
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def dump(cfg: Config) -> str:
    """The resolved configuration as YAML text that `load_config` reads back."""
    return yaml.safe_dump(to_plain(cfg), sort_keys=False)


def find_config(name: str | Path) -> Path:
    """The file of a configuration name or path."""
    for path in (Path(name), configs_root() / f"{name}.yaml"):
        if path.is_file():
            return path
    near = difflib.get_close_matches(str(name), config_names(), n=3, cutoff=0.3)
    raise InputError(
        f"config {str(name)!r}: expected a YAML file or a name under configs/, found neither; near: {', '.join(near)}"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: expected a configuration of at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise InputError(f"{path}: YAML aliases (*name) are not accepted: write the value out")
        refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected `KEY: value` lines, got a {type(values).__name__}")
    return values


def refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    """Raises: InputError where a group names a key twice; safe_load would keep the last one and say nothing."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise InputError(f"{path}, line {key.start_mark.line + 1}: {key.value} is set twice in one group")
            seen.add(key.value)
            refuse_repeated_keys(value, path)


def read_with_bases(path: Path) -> dict[str, Any]:
    """The file's values over those of its `_base_` (a path relative to the file, without suffix), and so on."""
    chain, folder, current = [], path.parent, path
    while True:
        values = read_yaml(current)
        base = values.pop("_base_", None)
        chain.append(values)
        if base is None:
            break
        if len(chain) == MAX_BASES:
            raise InputError(f"{path}: more than {MAX_BASES} files in its chain of _base_: does it name itself?")
        folder = current.parent
        current = folder / f"{base}.yaml"
        if not current.is_file():
            raise InputError(f"{path}: its _base_ {base!r} is not there (looked for {current})")
    merged: dict[str, Any] = {}
    for values in reversed(chain):
        merged = overlay(merged, values)
    return merged


def overlay(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, group by group, any key."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = overlay(result[key], value) if both else value
    return result


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
        right = isinstance(value, int | float | list) and not isinstance(value, bool)  # FPN lists strides per level
    elif isinstance(default, str):
        right, value = isinstance(value, str | int | float), value if value is None else str(value)
    else:
        right = isinstance(value, list | tuple | np.ndarray)
    if not right:
        kind = next(name for type_, name in KINDS.items() if isinstance(default, type_))
        hint = number_hint(value) if kind == "a number" else ""
        raise InputError(f"{where}: expected {kind}, as in {default!r}, got {value!r}{hint}")
    return value


KINDS = {bool: "true or false", (int, float): "a number", str: "text", (list, tuple): "a list"}


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
    return [(pair[0], pair[1])]


def unflatten(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """{"network__UNITS": x} as {"network": {"UNITS": x}}."""
    result: dict[str, Any] = {}
    for key, value in overrides.items():
        group, separator, name = key.partition("__")
        result = overlay(result, {group: {name: value}} if separator else {key: value})
    return result
