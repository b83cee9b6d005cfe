"""Which function computes which MXNet operator.

An operator is one Python function. Its positional parameters are the operator's inputs in MXNet's order, with MXNet's names
(`None` as default: may be absent; `*name`: any number); its keyword-only parameters are the operator's attributes with
MXNet's names, types and defaults. A keyword-only `training: bool` is no attribute: it is the module's mode. The same function
runs in the converted module, stands in the readable source, and is what the way back to MXNet recognises.

    @operator("my_scaled_tanh")
    def my_scaled_tanh(data: Tensor, *, scale: float = 1.0) -> Tensor:
        "scale * tanh(data)."
        return scale * torch.tanh(data)
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dcn_tasks.errors import InputError
from weights_convert.translate.attributes import Kind, Single, Unreadable, single

Function = Callable[..., Any]
# Attributes that say how to compute, not what.
WITHOUT_MEANING = frozenset({
    "workspace", "cudnn_tune", "cudnn_off", "cudnn_algo_verbose", "cudnn_algo_fwd", "cudnn_algo_bwd_data",
    "cudnn_algo_bwd_filter", "cudnn_tensor_core", "cudnn_tensor_core_only", "num_args", "ctx", "num_weights",
})  # fmt: skip
# Input names of learned arrays: where a file lacks one of these, it is an incomplete file, not an input of the graph.
LEARNED = frozenset({"weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "parameters", "running_mean",
                     "running_var", "moving_inv_var"})  # fmt: skip


@dataclass(frozen=True)
class Operator:
    """name: MXNet's. aliases: its other names. function: computes it. inputs: names in order, required ones first.

    optional: inputs that may be absent. variadic: the last input stands for any number. outputs: how many results a node has
    by its attributes; a function with one returns a tensor, with more a tuple. random: draws numbers, so that two
    frameworks can't agree on values. decides: selects, sorts or compares, so that float32 and float64 may
    part.
    """

    name: str
    aliases: tuple[str, ...]
    function: Function
    inputs: tuple[str, ...]
    optional: frozenset[str]
    variadic: bool
    attributes: Mapping[str, Kind]
    defaults: Mapping[str, Any]
    outputs: Callable[[Mapping[str, Any]], int]
    takes_training: bool = False
    random: bool = False
    decides: bool = False
    spelling: Mapping[str, str] = field(default_factory=dict)

    @property
    def semantics(self) -> str:
        """The function's first paragraph."""
        return " ".join((inspect.getdoc(self.function) or "").split("\n\n")[0].split())

    def input_name(self, place: int) -> str:
        return self.inputs[min(place, len(self.inputs) - 1)] if self.inputs else ""

    def read_attributes(self, texts: Mapping[str, str], where: str) -> dict[str, Any]:
        """Values of the attributes that the file states and that differ from their defaults.

        Raises: InputError naming node and attribute for one that is unknown, unreadable or missing.
        """
        values: dict[str, Any] = {}
        for key, text in texts.items():
            name = self.spelling.get(key, key)
            if name in WITHOUT_MEANING or (key.startswith("__") and key.endswith("__")):
                continue
            if name not in self.attributes:
                known = ", ".join(self.attributes) or "none"
                raise InputError(f"{where}: {self.name} has no attribute {key!r} (={text!r}); it has: {known}")
            try:
                value = self.attributes[name].read(text)
            except Unreadable as error:
                raise InputError(f"{where}: attribute {key}: {error}") from None
            if name not in self.defaults or value != self.defaults[name]:
                values[name] = value
        missing = [name for name in self.attributes if name not in self.defaults and name not in values]
        if missing:
            raise InputError(f"{where}: {self.name} needs {', '.join(missing)}, which the file does not give")
        return values


REGISTRY: dict[str, Operator] = {}
BY_FUNCTION: dict[Function, Operator] = {}


def operator_of(function: object, who: str) -> Operator:
    """The operator that a call in a module is. who: asks, for the message. Raises: InputError for one that is none."""
    found = BY_FUNCTION.get(function)  # type: ignore[call-overload]
    if found is None:
        raise InputError(
            f"{who}: expected calls of registered operators, got {function}; register it with "
            "weights_convert.translate.operator"
        )
    return found


def operator(
    name: str,
    *aliases: str,
    outputs: int | Callable[[Mapping[str, Any]], int] = 1,
    random: bool = False,
    decides: bool = False,
    spelling: Mapping[str, str] | None = None,
) -> Callable[[Function], Function]:
    """Registers a function as the translation of MXNet's operator `name`; a later registration replaces an earlier one.

    Args:
        outputs: the number of results, or a function of the attributes (defaults filled in) that gives it.
        spelling: attribute names of the file that are no Python names or changed with time -> parameter names.
    Raises: TypeError where a keyword-only parameter has no type that the reader knows.
    """

    def register(function: Function) -> Function:
        made = describe(name, aliases, function, outputs, random, decides, dict(spelling or {}))
        for each in (name, *aliases):
            REGISTRY[each] = made
        BY_FUNCTION[function] = made
        return function

    return register


def also_called(name: str, *aliases: str) -> None:
    """Further names of a registered operator."""
    made = replace(REGISTRY[name], aliases=(*REGISTRY[name].aliases, *aliases))
    for each in (made.name, *made.aliases):
        REGISTRY[each] = made
    BY_FUNCTION[made.function] = made


def describe(
    name: str,
    aliases: tuple[str, ...],
    function: Function,
    outputs: int | Callable[[Mapping[str, Any]], int],
    random: bool,
    decides: bool,
    spelling: Mapping[str, str],
) -> Operator:
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    tensors = [each for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    keywords = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY and each.name != "training"]
    kinds = {each.name: Kind.of(hints.get(each.name, str)) for each in keywords}
    wrong = [key for key, kind in kinds.items() if kind.item not in (int, float, Single, bool, str)]
    if wrong:
        raise TypeError(f"operator {name}: {wrong[0]} needs a type: int, float, bool, str, a tuple of them, or None")
    defaults = function.__kwdefaults__ or {}
    for key, value in defaults.items():
        if key in kinds and kinds[key].item is Single and value is not None:
            defaults[key] = tuple(map(single, value)) if isinstance(value, tuple) else single(value)
    parameters = inspect.signature(function).parameters.values()
    keywords = [each for each in parameters if each.name in kinds]
    given = {each.name: each.default for each in keywords if each.default is not inspect.Parameter.empty}
    count = outputs if callable(outputs) else (lambda _, number=outputs: number)
    return Operator(
        name,
        aliases,
        function,
        tuple(each.name for each in tensors),
        frozenset(each.name for each in tensors if each.default is None),
        any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in tensors),
        types.MappingProxyType(kinds),
        types.MappingProxyType(given),
        lambda values: count({**given, **values}),
        any(each.name == "training" for each in parameters),
        random,
        decides,
        types.MappingProxyType(dict(spelling)),
    )
