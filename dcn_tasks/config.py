"""Configurations: one YAML per experiment, the original's keys, differences from a `_base_`, frozen after loading."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import yaml
from easydict import EasyDict

from dcn_tasks.config_checks import FREE_FORM, merge, refuse_repeated_keys, refuse_unusable, scales, test_scales
from dcn_tasks.errors import InputError

MAX_BYTES = 1 << 20  # of one YAML file
MAX_DEPTH = 32  # of lists and groups in each other: libyaml's composer recurses without a check of its own
MAX_BASES = 8  # files in one chain of `_base_`
OPENING = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times faster, where PyYAML has libyaml


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
    values["TEST_SCALES"] = test_scales(values["TEST_SCALES"], source)
    refuse_unusable(values, source)
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
        refuse_bombs(text, path)
        refuse_repeated_keys(yaml.compose(text, Loader=LOADER), path)
        values = yaml.load(text, Loader=LOADER)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"{path}: not readable as YAML: {error}"
        ) from error  # PyYAML's constructors raise any of these
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected `KEY: value` lines, got a {type(values).__name__}")
    refuse_keys(values, path)
    return values


def refuse_bombs(text: str, path: Path) -> None:
    """Raises: InputError for aliases, which can stand for any number of values, and for nesting beyond MAX_DEPTH."""
    depth = 0
    for token in yaml.scan(text, Loader=LOADER):
        if isinstance(token, yaml.AliasToken):
            raise InputError(f"{path}: YAML aliases (*name) are not accepted: write the value out")
        depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
        if depth > MAX_DEPTH:
            raise InputError(f"{path}: expected lists and groups at most {MAX_DEPTH} deep in each other")


def refuse_keys(values: Any, path: Path) -> None:
    """Raises: InputError for keys that are no words, or that no attribute can be called since dicts have it already."""
    if isinstance(values, list):
        for value in values:
            refuse_keys(value, path)
    elif isinstance(values, dict):
        for key, value in values.items():
            if not isinstance(key, str) or hasattr(dict, key):
                raise InputError(f"{path}: expected a word as a key, other than Python's names for dicts, got {key!r}")
            refuse_keys(value, path)


def read_with_bases(path: Path) -> dict[str, Any]:
    """The file's values over those of its `_base_` (a path relative to the file, or a name under configs/; without suffix), and so on."""
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
        places = [folder / f"{base}.yaml", configs_root() / f"{base}.yaml"]
        current = next((place for place in places if place.is_file()), places[0])
        if not current.is_file():
            raise InputError(
                f"{path}: its _base_ {base!r} is not there (looked for {current}, then for a name under configs/)"
            )
    merged: dict[str, Any] = {}
    for values in reversed(chain):
        merged = overlay(merged, values)
    return merged


def overlay(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, group by group, any key; groups of free keys are replaced, since results are of one experiment."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping) and key not in FREE_FORM
        result[key] = overlay(result[key], value) if both else value
    return result


def unflatten(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """{"network__UNITS": x} as {"network": {"UNITS": x}}."""
    result: dict[str, Any] = {}
    for key, value in overrides.items():
        group, separator, name = key.partition("__")
        result = overlay(result, {group: {name: value}} if separator else {key: value})
    return result
