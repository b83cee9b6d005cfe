"""Checkpoints of training: weights, momentum, and the configuration they belong to, as .safetensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dcn_tasks.box_scale import box_normalisation
from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from torch_port.models import ClassAwareRPN, TwoStage

WEIGHTS = "weights"
MOMENTUM = "momentum"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Checkpoint:
    """tensors: by parameter and buffer path. momentum: by parameter path. step: updates done. config: resolved.
    source: what to call it in messages."""

    tensors: dict[str, Tensor]
    momentum: dict[str, Tensor]
    step: int
    config: dict
    source: str = "restore"


def save_checkpoint(
    path: Path | str, network: nn.Module, optimizer: torch.optim.Optimizer | None, *, step: int, config: Mapping
) -> None:
    """Writes weights, momentum, step and configuration into one file, in one piece or not at all, and reads it back.

    Args:
        optimizer: torch_port.training.SGD with named groups; None for weights alone.
        step: updates done. config: resolved configuration, kept as JSON in the file's metadata.
    Raises: OSError when it can't be written or does not read back as written; the old file is then still there.
    """
    tensors = {f"{WEIGHTS}/{name}": tensor for name, tensor in network.state_dict().items()}
    if optimizer is not None:
        states = {group["name"]: optimizer.state.get(group["params"][0]) for group in optimizer.param_groups}
        tensors |= {f"{MOMENTUM}/{name}": state["momentum"] for name, state in states.items() if state}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"step": str(step), "config": json.dumps(config, sort_keys=True), "torch": torch.__version__}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)
        with safe_open(temporary, "pt") as written:
            for name, tensor in tensors.items():
                if not torch.equal(written.get_tensor(name).nan_to_num(), tensor.nan_to_num()):
                    raise OSError(f"{path}: {name} does not read back as it was written: is the disk sound?")


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Reads what save_checkpoint wrote.

    Raises: InputError when the file is missing, damaged or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (OSError, SafetensorError, RuntimeError, TypeError, ValueError) as error:  # PyTorch's own, of a huge shape
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: expected a training checkpoint (.safetensors), got: {reason}") from error
    if not {"step", "config"} <= metadata.keys():
        raise InputError(
            f"{path}: expected a training checkpoint with step and config in its metadata, got {sorted(metadata)}: a "
            "converted model.safetensors is loaded by Module.load_state_dict"
        )
    parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in (WEIGHTS, MOMENTUM)}
    for name, tensor in tensors.items():
        kind, _, own = name.partition("/")
        if kind not in parts:
            raise InputError(
                f"{path}: expected tensors {' and '.join(f'{kind}/...' for kind in parts)} alone, got {name}"
            )
        parts[kind][own] = tensor
    return Checkpoint(parts[WEIGHTS], parts[MOMENTUM], *step_and_config(path, metadata), str(path))


def step_and_config(path: Path | str, metadata: Mapping[str, str]) -> tuple[int, dict]:
    try:
        step, config = int(metadata["step"]), json.loads(metadata["config"])
    except (ValueError, RecursionError):
        step, config = -1, None
    if step < 0 or not isinstance(config, dict):
        raise InputError(
            f"{path}: expected a number of updates as step and a JSON object as config in its metadata, got "
            f"{metadata['step'][:40]!r} and {metadata['config'][:40]!r}: is it dcn train's own file?"
        )
    return step, config


def restore(checkpoint: Checkpoint, network: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Puts a checkpoint's weights (and momentum) back, every key accounted for.

    Raises: InputError when keys or shapes of the file and of the network differ.
    """
    try:
        network.load_state_dict(checkpoint.tensors)
    except RuntimeError as error:
        raise InputError(
            f"{checkpoint.source}: the checkpoint is of another network; same configuration?\n{error}"
        ) from error
    if optimizer is None:
        return
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    for name, buffer in checkpoint.momentum.items():
        if buffer.shape != shapes.get(name) or buffer.dtype not in FLOATS:
            expected = list(shapes[name]) if name in shapes else "a parameter of the network"
            raise InputError(
                f"{checkpoint.source}: momentum of {name}: expected {expected}, got {buffer.dtype} {list(buffer.shape)}: "
                "is it a checkpoint of the same configuration?"
            )
    for group in optimizer.param_groups:
        if group["name"] in checkpoint.momentum:
            parameter = group["params"][0]
            optimizer.state[parameter]["momentum"] = checkpoint.momentum[group["name"]].to(parameter)


def load_for_detection(path: Path | str, network: TwoStage | ClassAwareRPN, cfg: Config) -> None:
    """Loads a training checkpoint into a detector, ready for models.Detector: box weights of a second stage are un-normalised.

    Args:
        cfg: TRAIN.BBOX_* are read.
    Raises: InputError as load_checkpoint and restore.
    """
    restore(load_checkpoint(path), network)
    if isinstance(network, TwoStage):
        network.head.unnormalise_boxes(*box_normalisation(cfg))
