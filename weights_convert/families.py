"""Parameters from MXNet to PyTorch and back: the same bits under other names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dcn_tasks.box_scale import is_scaled
from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from weights_convert.arrays import Array, Params, Sparse
from weights_convert.complaints import SHOWN, fitting_configs, misfit
from weights_convert.dtypes import BFLOAT16
from weights_convert.rules.rule import TEST_SUFFIX, TRAIN_PREFIX
from weights_convert.rules.rule_set import Account, RuleSet, account_for, rules_for
from weights_convert.tensors import as_array, to_tensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Converted:
    """A checkpoint in PyTorch's names.

    state: what the network's `load_state_dict` takes, `_test` weights in place of the normalised ones where the
    file has them. train: `train/NAME` -> the normalised weights that NAME replaces, so that nothing is lost.
    fresh: tensors that the file does not have (a backbone file): they keep their initial values.
    dropped: MXNet name -> reason. notes: sentences for people.
    """

    state: dict[str, np.ndarray]
    train: dict[str, np.ndarray]
    fresh: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def arrays(self) -> dict[str, np.ndarray]:
        """As they stand in a weights file: `train/NAME` beside NAME; views of the mapped source where it is dense."""
        return self.state | self.train

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: to_tensor(array) for name, array in self.arrays().items()}


def convert_params(params: Params, cfg: Config, *, source: str = "params") -> Converted:
    """Account for every array of `params`, then rename.

    Args:
        source: what to call the parameters in messages, for example the file's path.
    Raises: Misfit (an InputError) with one sentence for every missing, foreign or misshapen array in `problems`, the
        first of them in its message, and, where another configuration of this package fits the file, its name.
    """
    rules = rules_for(cfg)
    arrays = by_name(params, source)
    account = account_for({name: (state, tuple(a.shape), kind(a)) for name, (state, a) in arrays.items()}, rules)
    if not account.holds:
        raise misfit(source, account, rules, arrays)
    values = {name: dense(arrays[name][1]) for name in account.matched}
    state, train = {}, {}
    for name, entry in rules.entries.items():
        copy = name + TEST_SUFFIX
        if copy in values:
            state[entry.torch] = values[copy]
            train[TRAIN_PREFIX + entry.torch] = values[name]
        elif name in values:
            state[entry.torch] = values[name]
    fresh = [entry.torch for entry in account.missing]
    return Converted(state, train, fresh, account.dropped, notes_on(account, rules, bool(train) or not is_scaled(cfg)))


def configs_that_fit(params: Params) -> list[str]:
    """Names of the package's configurations whose network takes exactly these parameters; backbone files fit none."""
    return fitting_configs(by_name(params, "configs_that_fit"))


def notes_on(account: Account, rules: RuleSet, boxes_are_clear: bool) -> list[str]:
    """Sentences about a file. boxes_are_clear: it has `_test` copies, or training divides by nothing."""
    notes = []
    if account.backbone_only:
        layers = sorted({entry.torch.rpartition(".")[0] for entry in account.missing})
        notes.append(
            f"a backbone file: {len(account.missing)} arrays of {len(layers)} layers are not in it and keep their "
            f"initial values: {', '.join(layers)}"
        )
    elif not boxes_are_clear and (copied := [name for name, entry in rules.entries.items() if entry.test_copy]):
        layer = copied[0].rpartition("_")[0]
        notes.append(
            f"no {' and '.join(name + TEST_SUFFIX for name in copied)} in it: {layer} is taken as it is; if training saved "
            "it, its box deltas are still divided by TRAIN.BBOX_STDS"
        )
    for name, why in account.dropped.items():
        notes.append(f"{name} is left out: {why}")
    return notes


def to_torch(params: Params, cfg: Config, use_test_weights: bool = True) -> dict[str, torch.Tensor]:
    """Tensors for the network's `load_state_dict`, in the file's dtypes; a backbone file gives the backbone's only.

    Args:
        use_test_weights: take `_test` copies (un-normalised, for inference); False: the training weights.
    Raises: as convert_params.
    """
    converted = convert_params(params, cfg)
    chosen = dict(converted.state)
    if not use_test_weights:
        chosen |= {name.removeprefix(TRAIN_PREFIX): array for name, array in converted.train.items()}
    return {name: to_tensor(array) for name, array in chosen.items()}


def to_mxnet(state: Mapping[str, torch.Tensor | np.ndarray], cfg: Config) -> Params:
    """The way back: `state` (with its `train/` tensors, if any) as MXNet's arrays, the same bits.

    With `train/` tensors the plain ones become `_test` copies, as they were. Arrays that the rules dropped on the way
    in (the ImageNet classifier) are not in PyTorch and do not come back.

    Raises: InputError naming each tensor that is missing, foreign or of another shape.
    """
    rules = rules_for(cfg)
    problems = torch_problems(state, rules)
    if problems:
        rest = f"; and {len(problems) - SHOWN} more" if problems[SHOWN:] else ""
        raise InputError("to_mxnet: " + "; ".join(problems[:SHOWN]) + rest)
    arg: dict[str, Array] = {}
    aux: dict[str, Array] = {}
    copies: dict[str, Array] = {}
    for name, entry in rules.entries.items():
        if entry.torch not in state:
            continue
        target = aux if entry.state == "aux" else arg
        value = as_array(state[entry.torch])
        trained = state.get(TRAIN_PREFIX + entry.torch)
        target[name] = value if trained is None else as_array(trained)
        if trained is not None:
            copies[name + TEST_SUFFIX] = value
    return Params(arg | copies, aux)


def torch_problems(state: Mapping[str, torch.Tensor | np.ndarray], rules: RuleSet) -> list[str]:
    shapes = rules.torch_shapes
    copies = {entry.torch for entry in rules.entries.values() if entry.test_copy}
    problems = []
    for name, value in state.items():
        own = name.removeprefix(TRAIN_PREFIX)
        if own not in shapes or (own != name and own not in copies):
            problems.append(f"{name} {list(value.shape)} is no tensor of this network; is the config right?")
        elif tuple(value.shape) != shapes[own]:
            problems.append(
                f"{name}: expected {list(shapes[own])}, got {list(value.shape)}; is the config the right one?"
            )
    heads = {entry.torch for entry in rules.entries.values() if not entry.in_backbone_file}
    missing = [name for name in shapes if name not in state]
    if set(missing) != heads:
        problems += [f"{name} {list(shapes[name])} is missing; give the whole state_dict" for name in missing]
    given = [name for name in copies if TRAIN_PREFIX + name in state]
    if given and len(given) < len(copies):
        problems.append(f"{TRAIN_PREFIX}{given[0]} came without its partner; give both or none")
    return problems


def by_name(params: Params, source: str) -> dict[str, tuple[str, Array]]:
    """name -> (state, array); arrays that stood without a prefix may be either state ("any")."""
    if params.unnamed:
        raise InputError(
            f"{source}: {len(params.unnamed)} arrays without names, and the rules go by name: save them as a dictionary"
        )
    arrays: dict[str, tuple[str, Array]] = {}
    for name, array in params.arg.items():
        arrays[name] = ("any" if name in params.bare else "arg", array)
    for name, array in params.aux.items():
        if name in arrays:
            raise InputError(f"{source}: {name} is there as arg: and as aux:; save the checkpoint with one of them")
        arrays[name] = ("aux", array)
    return arrays


def kind(array: Array) -> str:
    return "f" if array.dtype.kind == "f" or array.dtype == BFLOAT16 else array.dtype.name


def dense(array: Array) -> np.ndarray:
    return array.to_dense() if isinstance(array, Sparse) else array
