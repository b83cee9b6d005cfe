"""`.safetensors` files of converted weights: tensors, and where they came from, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from weights_convert.arrays import little_endian
from weights_convert.byte_cursor import AGAIN, map_file
from weights_convert.rules.rule import TRAIN_PREFIX
from weights_convert.safetensors_stream import differing, write_safetensors
from weights_convert.tensors import as_array, to_array

if TYPE_CHECKING:
    import numpy as np
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


def save_weights(
    path: str | os.PathLike, tensors: Mapping[str, torch.Tensor | np.ndarray], metadata: Mapping[str, object]
) -> None:
    """Write tensors and metadata (texts as they are, anything else as JSON), read back and compare every byte.

    Arrays that are views of a mapped `.params` file go to the disk without a copy in memory.

    Raises: OSError from the disk; then no half-written file is left and an old one stays.
    """
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    arrays = {name: little_endian(as_array(tensor)) for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            write_safetensors(file, arrays, texts)
        with closing(map_file(temporary)) as mapped, memoryview(mapped) as written:
            for what in differing(written, arrays, texts):
                raise OSError(f"{path}: {what} did not come back from the disk as written; check the disk, then retry")


def load_weights(path: str | os.PathLike) -> WeightsFile:
    """Read what `save_weights` wrote, or any .safetensors file whose tensors NumPy can hold (no float8).

    Raises: InputError naming the path and the reason.
    """
    map_file(path).close()  # a sentence for a missing file, a folder, an empty file
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:  # PyTorch's own, of a shape past its limits
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: is no whole .safetensors file ({reason}); convert it again, or {AGAIN}") from None
    for name, tensor in tensors.items():
        try:
            to_array(tensor)
        except InputError as error:
            raise InputError(f"{path}: {name}: {error}") from None
    state = {name: tensor for name, tensor in tensors.items() if not name.startswith(TRAIN_PREFIX)}
    train = {name.removeprefix(TRAIN_PREFIX): tensors[name] for name in tensors if name not in state}
    return WeightsFile(state, train, metadata)


def listed_texts(path: str | os.PathLike, metadata: Mapping[str, str], key: str) -> list[str]:
    """A list of texts that `save_weights` put into a file's metadata; empty where there is none.

    Args: path: the file, for messages.
    Raises: InputError for anything else under this key.
    """
    text = metadata.get(key, "[]")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise InputError(
            f"{path}: expected a JSON list of texts as {key} in its metadata, got {text[:40]!r}; convert it again"
        )
    return found
