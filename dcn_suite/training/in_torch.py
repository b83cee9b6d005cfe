"""A training in PyTorch, as dcn_suite.training runs it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from dcn_suite.checkpoints import WEIGHTS, for_detection, normalised_names
from dcn_suite.devices import torch_device
from dcn_suite.training.settings import Settings
from dcn_tasks.config import Config, to_plain
from dcn_tasks.data import LoadedUpdate
from dcn_tasks.errors import InputError
from dcn_tasks.training_loop import Update
from torch_port.models import build_network
from torch_port.training import load_checkpoint, parallel_for, save_checkpoint, training_for
from weights_convert import Params, save_weights, to_torch
from weights_convert.rules.rule import TRAIN_PREFIX

LAST = "last.safetensors"
AMP = {None: None, "bf16": torch.bfloat16}


class Run:
    """One training: its learner, and how its state is kept.

    Args: start: MXNet's names, normalised boxes. state: file of an earlier run to go on from, or None.
    """

    def __init__(
        self,
        cfg: Config,
        settings: Settings,
        start: Params,
        *,
        updates_per_epoch: int,
        images_per_update: int,
        warmup_from: int,
        state: Path | None,
    ):
        torch.manual_seed(settings.seed)
        self.cfg, self.settings = cfg, settings
        device = device_of(settings)
        network = build_network(cfg)
        network.load_state_dict(to_torch(start, cfg, use_test_weights=False))
        network = network.to(device).train()
        if settings.channels_last:
            network = network.to(memory_format=torch.channels_last)
        self.learner = training_for(
            network,
            cfg,
            updates_per_epoch=updates_per_epoch,
            seed=settings.seed,
            images_per_update=images_per_update,
            warmup_from=warmup_from,
        )
        self.learner.amp = AMP[settings.amp]
        self.learner.channels_last = settings.channels_last
        if state is not None:
            self.learner.resume(load_checkpoint(state))
        self.learner.parallel = parallel_for(network)

    LAST = LAST

    @property
    def updates(self) -> int:
        return self.learner.updates

    def begin(self, first: LoadedUpdate) -> None:
        """Nothing waits for the first batch here."""

    @staticmethod
    def arrays(update: Update) -> list[dict]:
        return [outputs.arrays() for outputs in update.outputs]

    def save_state(self, path: Path) -> None:
        save_checkpoint(
            path, self.learner.network, self.learner.optimizer, step=self.learner.updates, config=to_plain(self.cfg)
        )

    def save_epoch(self, prefix: Path, epoch: int) -> None:
        """PREFIX-EPOCH.safetensors, from which `dcn train --weights` and `dcn predict` start."""
        self.save_state(Path(f"{prefix}-{epoch:04d}.safetensors"))

    def finish(self, folder: Path, prefix: Path, epoch: int) -> Path:
        """model.safetensors, as `dcn convert` writes it: ready for detection, normalised boxes beside."""
        trained = {name: tensor.detach().cpu() for name, tensor in self.learner.network.state_dict().items()}
        tensors = for_detection(trained, self.cfg)
        tensors |= {TRAIN_PREFIX + name: trained[name] for name in normalised_names(self.cfg)}
        facts = {"config_name": self.settings.config, "source": f"dcn train, {self.learner.updates} updates"}
        save_weights(folder / WEIGHTS, tensors, {**facts, "config": to_plain(self.cfg)})
        return folder / WEIGHTS


def updates_of(state: Path) -> int:
    return load_checkpoint(state).step


def device_of(settings: Settings) -> torch.device:
    """--device, or the GPU that is there; with several processes, each its own."""
    device = torch_device(settings.device)
    if device.type == "cpu" or not dist.is_initialized():
        return device
    if device.index is not None:
        raise InputError(f"--device: expected cuda, each of several processes takes its own, got {settings.device}")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def joined(cfg: Config, settings: Settings) -> Iterator[tuple[int, int]]:
    """(rank, number of processes) when torchrun started this one, else (0, 1).

    Raises: InputError for a device that is not there, before anything is written.
    """
    torch_device(settings.device)
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield 0, 1
        return
    if not dist.is_initialized():
        on_gpu = settings.device != "cpu" and torch.cuda.is_available()
        if on_gpu:
            local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
            if local >= there:
                raise InputError(
                    f"torchrun: process {local} of this machine has no GPU of its own, there are {there}: start fewer processes, "
                    "or add --device cpu"
                )
            torch.cuda.set_device(local)
        dist.init_process_group("nccl" if on_gpu else "gloo")
    device_of(settings)
    yield dist.get_rank(), dist.get_world_size()


def wait_for_others() -> None:
    if dist.is_initialized():
        dist.barrier()
