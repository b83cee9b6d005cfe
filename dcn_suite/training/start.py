"""The weights that a training starts from, by MXNet's names and with normalised boxes, the same for both frameworks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dcn_suite.checkpoints import TRAINED, file_of, is_safetensors
from dcn_tasks.box_scale import is_scaled, normalised
from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.initial import initial_value, is_new_layer
from weights_convert import Params, load_params, load_weights, rules_for
from weights_convert.arrays import Array
from weights_convert.families import dense
from weights_convert.tensors import to_array


def starting_weights(cfg: Config, seed: int, weights: Path | None, *, from_scratch: bool) -> tuple[Params, list[str]]:
    """Every array of the network, float32: from a checkpoint where it has one that fits, else its initial value.

    Args:
        weights: .params, .safetensors or a folder with model.safetensors: a whole network, perhaps of other classes, or a
            backbone; None: what network.pretrained names, where it names something. from_scratch: not even that.
    Returns: parameters, and sentences about what was taken and what begins anew.
    Raises: InputError when the checkpoint is missing or of another backbone.
    """
    rules = rules_for(cfg)
    fresh = {name: initial_value(name, entry.shape, seed) for name, entry in rules.entries.items()}
    notes = ["every layer begins with random values"]
    if not from_scratch and (weights is not None or cfg.network.pretrained):
        path = file_of(weights or pretrained_path(cfg))
        found = arrays_of(path, cfg)
        taken = fitting(found, fresh, path)
        notes = [f"{path}: {len(taken)} of {len(fresh)} arrays", *begins_anew(fresh, taken)]
        boxes = [name for name, entry in rules.entries.items() if entry.test_copy and name in taken]
        if boxes and is_scaled(cfg) and not is_safetensors(path) and not any(f"{name}_test" in found for name in boxes):
            notes.append(
                f"{path}: {' and '.join(boxes)} are taken as a training leaves them, divided by TRAIN.BBOX_STDS: no _test copies "
                "stand beside; boxes that are ready for detection start off by that factor"
            )
        fresh |= taken
    states: dict[str, dict[str, np.ndarray]] = {"arg": {}, "aux": {}}
    for name, entry in rules.entries.items():
        states[entry.state][name] = np.ascontiguousarray(fresh[name], np.float32)
    return Params(states["arg"], states["aux"]), notes


def pretrained_path(cfg: Config) -> Path:
    path = Path(f"{cfg.network.pretrained}-{cfg.network.pretrained_epoch:04d}.params")
    if not path.is_file():
        raise InputError(
            f"{path}: expected the backbone that network.pretrained names, there is no such file: put it there "
            "(docs/pretrained.md says where the original's was), or give dcn train --weights FILE or --from-scratch"
        )
    return path


def arrays_of(path: Path, cfg: Config) -> dict[str, Array]:
    """Arrays of a checkpoint by MXNet's names, boxes normalised. Raises: InputError for a broken or missing file."""
    if not is_safetensors(path):
        params = load_params(path)
        return params.arg | params.aux
    file = load_weights(path)
    entries = {entry.torch: entry for entry in rules_for(cfg).entries.values()}
    arrays: dict[str, Array] = {}
    for name, tensor in file.state.items():
        own = name.removeprefix(TRAINED)  # of a training's checkpoint, whose boxes are normalised
        if own not in entries:
            continue
        trained = file.train.get(own)
        value = to_array(tensor if trained is None else trained)
        as_it_is = trained is not None or own != name or not entries[own].test_copy or value.shape != entries[own].shape
        arrays[entries[own].mxnet] = value if as_it_is else normalised(value, cfg)
    return arrays


def fitting(found: Mapping[str, Array], wanted: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Those arrays that the network has in the same shape, float32.

    Raises: InputError when one of the backbone is not among them, or one is not finite (on which MXNet may end the process).
    """
    for name, value in wanted.items():
        if is_new_layer(name):
            continue
        if name not in found:
            raise InputError(f"{path}: expected the backbone's {name}, which is not there: is it another network's?")
        if found[name].shape != value.shape:
            raise InputError(
                f"{path}: {name}: expected {list(value.shape)}, got {list(found[name].shape)}: another backbone?"
            )
    taken = [name for name, value in wanted.items() if name in found and found[name].shape == value.shape]
    with np.errstate(over="ignore"):  # a sparse array of another shape may stand for any number of bytes
        values = {name: np.asarray(dense(found[name]), np.float32) for name in taken}
    if bad := [name for name, value in values.items() if not np.isfinite(value).all()]:
        raise InputError(
            f"{path}: {bad[0]}: expected finite numbers, got a NaN or an infinity: take an earlier checkpoint"
        )
    return values


def begins_anew(wanted: Mapping[str, np.ndarray], taken: Mapping[str, np.ndarray]) -> list[str]:
    layers = sorted({name.rpartition("_")[0] for name in wanted if name not in taken})
    return [f"{', '.join(layers)} begin with initial values: the file has none of this shape"] if layers else []
