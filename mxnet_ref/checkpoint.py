"""Checkpoints with the original's habits: `arg:`/`aux:` names, PREFIX-%04d.params, un-normalised `_test` copies."""

from collections.abc import Mapping
from pathlib import Path

import mxnet as mx
import numpy as np

from dcn_tasks.box_scale import unnormalised
from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from dcn_tasks.network import NetworkSpec
from mxnet_ref.executor import Arrays
from mxnet_ref.heads.layout import layout_of

TEST_SUFFIX = "_test"


def with_test_copies(arg: Mapping[str, np.ndarray], cfg: Config) -> Arrays:
    """The parameters and, beside the normalised box regression where there is one, its un-normalised copies for testing.

    {layer}_weight_test = weight * std and {layer}_bias_test = bias * std + mean of rfcn_bbox or bbox_pred; for rfcn_bbox
    each of the 4K stds and means is repeated for the P*P bins of its map (original `core/callback.py`).
    """
    spec = NetworkSpec.from_config(cfg)
    layout = layout_of(spec)
    if layout is None:
        return dict(arg)
    weight, bias = arg[f"{layout.boxes}_weight"], arg[f"{layout.boxes}_bias"]
    return {
        **arg,
        f"{layout.boxes}_weight{TEST_SUFFIX}": unnormalised(weight, cfg),
        f"{layout.boxes}_bias{TEST_SUFFIX}": unnormalised(bias, cfg),
    }


def detection_weights(arg: Mapping[str, np.ndarray]) -> Arrays:
    """The parameters for detection: every `_test` copy in the place of its normalised original."""
    copies = {name.removesuffix(TEST_SUFFIX): value for name, value in arg.items() if name.endswith(TEST_SUFFIX)}
    return {**{name: value for name, value in arg.items() if not name.endswith(TEST_SUFFIX)}, **copies}


def save_checkpoint(
    prefix: str | Path, epoch: int, arg: Mapping[str, np.ndarray], aux: Mapping[str, np.ndarray], cfg: Config
) -> Path:
    """Write PREFIX-%04d.params, `_test` copies included, whole or not at all.

    Args: epoch: finished epochs. Returns: the file's path.
    """
    arrays = {f"arg:{name}": value for name, value in with_test_copies(arg, cfg).items()}
    arrays |= {f"aux:{name}": value for name, value in aux.items()}
    return save_arrays(checkpoint_path(prefix, epoch), arrays)


def load_checkpoint(prefix: str | Path, epoch: int, process: bool = False) -> tuple[Arrays, Arrays]:
    """Read PREFIX-%04d.params.

    Args: process: `_test` copies take the place of the normalised arrays, as the original's test scripts have it; else
        they are kept under their own names (to go on training).
    Returns: (arg, aux).
    Raises: InputError when the file is missing or not MXNet's.
    """
    path = checkpoint_path(prefix, epoch)
    loaded = load_arrays(path)
    if not any(name.startswith("arg:") for name in loaded):
        raise InputError(f"{path}: expected arrays named arg:... and aux:..., got {', '.join(sorted(loaded)[:3])}")
    arg = {name[4:]: value for name, value in loaded.items() if name.startswith("arg:")}
    aux = {name[4:]: value for name, value in loaded.items() if name.startswith("aux:")}
    return (detection_weights(arg) if process else arg), aux


def save_momentum(prefix: str | Path, epoch: int, momentum: Mapping[str, np.ndarray]) -> Path:
    """Write the optimiser's state, PREFIX-%04d.states.params: one array per trained parameter, by its name; no pickle."""
    return save_arrays(checkpoint_path(prefix, epoch, "states.params"), momentum)


def load_momentum(prefix: str | Path, epoch: int) -> Arrays:
    """Read what `save_momentum` wrote. Raises: InputError when the file is missing or not MXNet's."""
    return load_arrays(checkpoint_path(prefix, epoch, "states.params"))


def save_state(path: Path, arg: Mapping, aux: Mapping, momentum: Mapping, updates: int) -> Path:
    """Write all that a training goes on from into one file, whole or not at all: arg:, aux:, momentum: and `updates`."""
    groups = {"arg": arg, "aux": aux, "momentum": momentum}
    arrays = {f"{group}:{name}": value for group, named in groups.items() for name, value in named.items()}
    return save_arrays(path, {**arrays, "updates": np.array([updates], np.int64)})


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    with atomic_path(path) as temporary:
        mx.nd.save(str(temporary), {name: mx.nd.array(value, dtype=value.dtype) for name, value in arrays.items()})
    return path


def load_arrays(path: Path) -> Arrays:
    """Named dense arrays of an MXNet file. Raises: InputError when it is missing or something else."""
    if not path.is_file():
        raise InputError(f"{path}: expected an MXNet checkpoint, there is no such file")
    try:
        loaded = mx.nd.load(str(path))
    except (mx.base.MXNetError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: expected an MXNet checkpoint, could not read it: {reason}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: expected named arrays, got a list of {len(loaded)} without names")
    for name, array in loaded.items():
        if array.stype != "default":  # MXNet fills in a sparse one without a look at its indices
            raise InputError(f"{path}: {name}: expected a dense array, got a {array.stype} one: save it dense")
    return {name: array.asnumpy() for name, array in loaded.items()}


def checkpoint_path(prefix: str | Path, epoch: int, suffix: str = "params") -> Path:
    return Path(f"{prefix}-{epoch:04d}.{suffix}")
