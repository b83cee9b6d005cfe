"""`.safetensors` files of converted weights: tensors, and where they came from, written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from weights_convert.arrays import same_bits
from weights_convert.byte_cursor import AGAIN, map_file
from weights_convert.rules.rule import TRAIN_PREFIX
from weights_convert.tensors import to_array

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WeightsFile:
    """state: for the network's `load_state_dict`. train: the normalised weights by the name in `state` that they
    replace when training goes on. metadata: source, source_sha256, rules_version, packages, config, notes, ...
    """

    state: dict[str, torch.Tensor]
    train: dict[str, torch.Tensor]
    metadata: dict[str, str]

    def tensors(self) -> dict[str, torch.Tensor]:
        """As they stand in the file: `train/NAME` beside NAME."""
        return self.state | {TRAIN_PREFIX + name: tensor for name, tensor in self.train.items()}


def save_weights(path: str | os.PathLike, tensors: dict[str, torch.Tensor], metadata: dict[str, object]) -> None:
    """Write tensors and metadata (texts as they are, anything else as JSON), read back and compare every bit.

    Raises: OSError from the disk; then no half-written file is left and an old one stays.
    """
    from safetensors.torch import save

    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, texts)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        del data
        compare_with_file(temporary, Path(path), tensors)


def compare_with_file(written: Path, path: Path, tensors: dict[str, torch.Tensor]) -> None:
    with safe_open(written, "pt") as file:
        for name, tensor in tensors.items():
            if not same_bits(to_array(file.get_tensor(name)), to_array(tensor)):
                raise OSError(f"{path}: {name} did not come back from the disk as written; check the disk, then retry")


def load_weights(path: str | os.PathLike) -> WeightsFile:
    """Read what `save_weights` wrote, or any .safetensors file.

    Raises: InputError naming the path and the reason.
    """
    map_file(path).close()  # a sentence for a missing file, a folder, an empty file
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except SafetensorError as error:
        raise InputError(f"{path}: is no whole .safetensors file ({error}); convert it again, or {AGAIN}") from None
    state = {name: tensor for name, tensor in tensors.items() if not name.startswith(TRAIN_PREFIX)}
    train = {name.removeprefix(TRAIN_PREFIX): tensors[name] for name in tensors if name not in state}
    return WeightsFile(state, train, metadata)
