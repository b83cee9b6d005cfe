"""One network's weights, out of whatever file holds them, for either framework."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcn_tasks.box_scale import unnormalised
from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from weights_convert import convert_params, load_params, load_weights, rules_for, to_mxnet
from weights_convert.byte_cursor import map_file
from weights_convert.families import dense
from weights_convert.tensors import to_array, to_tensor

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"  # in a folder that `dcn convert` wrote
TRAINED = "weights/"  # what the names of tensors begin with in a checkpoint of a training in PyTorch


@dataclass(frozen=True)
class Checkpoint:
    """path: the file read. state: for `load_state_dict` of the configuration's network, box regression un-normalised.
    notes: sentences for people."""

    path: Path
    state: Mapping[str, "torch.Tensor"]
    notes: list[str] = field(default_factory=list)

    def mxnet_arrays(self, cfg: Config) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """(arg, aux) for mxnet_ref's detectors, float32.

        Raises: InputError for a NaN or an infinity: as an offset it ends the process in MXNet 1.9.1's DeformablePSROIPooling.
        """
        params = to_mxnet(self.state, cfg)
        with np.errstate(over="ignore"):
            arg, aux = (
                {name: np.asarray(dense(array), np.float32) for name, array in group.items()}
                for group in (params.arg, params.aux)
            )
        if bad := [name for name, value in (arg | aux).items() if not np.isfinite(value).all()]:
            raise InputError(f"{self.path}: {bad[0]}: expected finite numbers for MXNet, got a NaN or an infinity")
        return arg, aux


def read_checkpoint(path: Path, cfg: Config, *, config_name: str = "") -> Checkpoint:
    """Weights for detecting with the network of a configuration.

    Args:
        path: an MXNet .params file, a .safetensors file (converted, or an epoch of `dcn train`), or a folder that `dcn convert`
            wrote.
        config_name: as the user gave it, for messages.
    Raises: InputError for a file that is missing, broken, of another network, or of a backbone alone.
    """
    path = file_of(path)
    notes: list[str] = []
    if is_safetensors(path):
        weights = load_weights(path)
        trained = is_training(weights.state)
        state = of_training(weights.state) if trained else dict(weights.state)
        made_for = weights.metadata.get("config_name", "")
        if made_for and config_name and made_for != config_name:
            notes.append(f"{path} was converted for {made_for}, and is used for {config_name}")
        try:
            to_mxnet(state, cfg)
        except InputError as error:
            raise InputError(f"{path}: {str(error).removeprefix('to_mxnet: ')}") from None
        state = for_detection(state, cfg) if trained else state
    else:
        converted = convert_params(load_params(path), cfg, source=str(path))
        state = {name: to_tensor(array) for name, array in converted.state.items()}
        notes += converted.notes
    missing = [name for name in rules_for(cfg).torch_shapes if name not in state]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} arrays of the network are not in it, {missing[0]} and others: it holds a backbone; "
            "give the weights of a trained network"
        )
    return Checkpoint(path, state, notes)


def is_training(state: Mapping[str, "torch.Tensor"]) -> bool:
    """Whether it is a checkpoint of `dcn train` in PyTorch, which holds the optimiser's momentum and normalised boxes."""
    return any(name.startswith(TRAINED) for name in state)


def of_training(state: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """The network's tensors of such a checkpoint, as training leaves them."""
    return {name.removeprefix(TRAINED): tensor for name, tensor in state.items() if name.startswith(TRAINED)}


def for_detection(trained: Mapping[str, "torch.Tensor"], cfg: Config) -> dict[str, "torch.Tensor"]:
    """A network's tensors as training leaves them, in the shapes of `cfg`, with box regression un-normalised."""
    names = normalised_names(cfg)
    return {
        name: to_tensor(unnormalised(to_array(tensor), cfg)) if name in names else tensor
        for name, tensor in trained.items()
    }


def normalised_names(cfg: Config) -> set[str]:
    """PyTorch's names of the tensors that training keeps normalised: the second stage's box regression."""
    return {entry.torch for entry in rules_for(cfg).entries.values() if entry.test_copy}


def file_of(path: Path) -> Path:
    """The file that a user's path means: of a folder that `dcn convert` or `dcn train` wrote, its weights."""
    return path / WEIGHTS if (path / WEIGHTS).is_file() else path


def is_safetensors(path: Path) -> bool:
    """By content: behind the 8 bytes of a length stands JSON. Raises: InputError for a file that is not there."""
    with closing(map_file(path)) as content:
        return content[8:9] == b"{"
