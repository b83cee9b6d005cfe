"""Timing whole networks, both frameworks in turns in one process on the same number of threads."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dcn_suite.checkpoints import Checkpoint
from dcn_suite.parity.photo import photo_of
from dcn_tasks.config import Config
from dcn_tasks.images import to_network_input
from dcn_tasks.task import SEGMENTATION, task_of
from torch_port.layers import BatchNorm
from torch_port.models import Detector, Segmenter, build_network

REST_S = 0.5  # before each framework's turn: the other's threads spin on for a while, and would be timed along
OFFSET_STD_PX = 1.5  # of the offsets that are timed: zeros would all stand on grid points


@dataclass(frozen=True)
class Timing:
    """Median seconds of one network in one framework. forward: the network alone; overall: image in, boxes or labels out."""

    network: str
    variant: str
    framework: str
    forward_s: float
    overall_s: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def time_variants(
    network: str, configs: dict[str, Config], *, turns: int, step: Callable[[str], None] = lambda text: None
) -> list[Timing]:
    """All variants of a network in PyTorch and, where it is installed, in MXNet, by turns.

    Args:
        network: its name. configs: by variant. turns: measurements of each, after one that is not counted.
        step: is told what runs.
    """
    image = photo_of(*input_size(next(iter(configs.values()))))
    runs: dict[tuple[str, str], tuple[Callable, Callable]] = {}
    for variant, cfg in configs.items():
        step(f"{network}, {variant}: weights")
        weights = settled_weights(cfg, image)
        runs[variant, "torch"] = torch_runs(cfg, weights, image)
        if find_spec("mxnet") is not None:
            runs[variant, "mxnet"] = mxnet_runs(cfg, weights, image)
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in runs}
    for turn in range(turns + 1):
        for (variant, framework), (forward, overall) in runs.items():
            step(f"{network}, {variant}: {framework}, turn {turn} of {turns}")
            time.sleep(REST_S)
            measured = seconds_of(forward), seconds_of(overall)
            if turn:
                seconds[variant, framework].append(measured)
    return [
        Timing(network, variant, framework, *(statistics.median(column) for column in zip(*taken, strict=True)))
        for (variant, framework), taken in seconds.items()
    ]


def input_size(cfg: Config) -> tuple[int, int]:
    """Height and width of an image that fills SCALES: 600 x 1000."""
    short, longest = cfg.SCALES[0]
    return short, longest


def seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def torch_runs(cfg: Config, weights: Checkpoint, image: np.ndarray) -> tuple[Callable, Callable]:
    """(forward, overall) of the network with its normalisations folded."""
    network = build_network(cfg)
    network.load_state_dict(weights.state)
    data, im_info = to_network_input(image, cfg)
    if task_of(cfg) is SEGMENTATION:
        segmenter = Segmenter(network, cfg, fold=True)
        pixels = torch.as_tensor(data)

        def forward() -> object:
            with torch.inference_mode():
                return segmenter.network(pixels)

        return forward, lambda: segmenter(image)
    detector = Detector(network, cfg, fold=True)
    return lambda: detector.propose(data, im_info), lambda: detector(image)


def mxnet_runs(cfg: Config, weights: Checkpoint, image: np.ndarray) -> tuple[Callable, Callable]:
    """(forward, overall) with the original operators."""
    import mxnet_ref

    arrays = weights.mxnet_arrays(cfg)
    data, im_info = to_network_input(image, cfg)
    if task_of(cfg) is SEGMENTATION:
        segmenter = mxnet_ref.Segmenter(cfg, *arrays)
        # its forward contains the resizing of the image, a hundredth of the network's time
        return lambda: segmenter.prob(image), lambda: segmenter(image)
    detector = mxnet_ref.Detector(cfg, *arrays)
    return lambda: detector.propose(data, im_info), lambda: detector(image)


def settled_weights(cfg: Config, image: np.ndarray, seed: int = 0) -> Checkpoint:
    """Random weights under which activations stay of order one and offsets spread over a few cells, as in a trained network.

    Normalisations get the statistics of what they see, offsets a standard deviation of 1.5 feature pixels.
    """
    torch.manual_seed(seed)
    network = build_network(cfg).eval()
    handles = [
        *(module.register_forward_pre_hook(settle) for module in network.modules() if isinstance(module, BatchNorm)),
        *(
            module.register_forward_hook(spread)
            for path, module in network.named_modules()
            if path.rpartition(".")[2].startswith("offset_conv")
        ),
    ]
    data, _ = to_network_input(image, cfg)
    with torch.no_grad():
        network.backbone(torch.as_tensor(data))
    for handle in handles:
        handle.remove()
    return Checkpoint(Path("random"), network.state_dict())


def settle(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    module.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    module.running_var.copy_(inputs[0].var((0, 2, 3)) + 1e-3)


def spread(module: nn.Conv2d, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    """Random weights instead of zeros, scaled on this input; returns what they give."""
    nn.init.normal_(module.weight, std=0.01)
    module.weight.mul_(OFFSET_STD_PX / float(module._conv_forward(inputs[0], module.weight, None).std()))
    return module._conv_forward(inputs[0], module.weight, module.bias)


def environment() -> dict[str, object]:
    """What the times depend on."""
    import importlib.metadata

    def version(package: str) -> str:
        return importlib.metadata.version(package) if find_spec(package) else "not installed"

    core = os.environ.get("OPENBLAS_CORETYPE")
    return {
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set: MXNet runs on one thread"),
        **({"OPENBLAS_CORETYPE": core} if core else {}),
        "load": round(os.getloadavg()[0], 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mxnet": version("mxnet"),
    }
