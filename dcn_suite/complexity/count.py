"""Counting what a network holds and multiplies, without computing anything: on PyTorch's meta device."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dcn_tasks.config import Config
from dcn_tasks.task import DETECTION, task_of
from torch_port.layers import PyramidRoIPool

PARTS = {  # in the order of the network; a parameter belongs to the first pattern that its path matches
    "normalisation": r"backbone\..*\bbn\d?\.",
    "offsets of convolutions": r"backbone\..*offset",
    "backbone": r"backbone\.",
    "feature pyramid": r"(neck|pyramid|fpn)\.",
    "region proposals": r"rpn\.",
    "offsets of RoI pooling": r"(head|roi_pool|pool)\..*offset|offset",
    "head": r"",
}
SHOWN_PARTS = (
    "backbone",
    "normalisation",
    "offsets of convolutions",
    "feature pyramid",
    "region proposals",
    "head",
    "offsets of RoI pooling",
)


@dataclass(frozen=True)
class Count:
    """parts: parameters by part of the network. boxes: those of box regression, by part. statistics: running means and
    variances, which are no parameters.
    multiply_adds: of one forward pass by convolutions and fully connected layers, deformable ones included (without the
    bilinear sampling); None where it was not asked for."""

    parts: dict[str, int]
    boxes: dict[str, int]
    statistics: int
    multiply_adds: int | None = None

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def without(self, parts: tuple[str, ...]) -> int:
        """Parameters of all other parts."""
        return self.total - sum(self.parts[part] for part in parts)


def count(cfg: Config, *, size: tuple[int, int] | None = None) -> Count:
    """What the network of a configuration holds.

    Args: size: height and width of an input whose multiply-adds are counted too.
    """
    network = meta_network(cfg)
    parts, boxes = dict.fromkeys(SHOWN_PARTS, 0), dict.fromkeys(SHOWN_PARTS, 0)
    for path, parameter in network.named_parameters():
        part = next(part for part, pattern in PARTS.items() if re.match(pattern, path))
        parts[part] += parameter.numel()
        boxes[part] += parameter.numel() if "bbox" in path else 0
    statistics = sum(value.numel() for name, value in network.named_buffers() if "running_" in name)
    return Count(parts, boxes, statistics, None if size is None else multiply_adds(network, cfg, size))


def meta_network(cfg: Config) -> nn.Module:
    from torch_port.models import build_network

    with torch.device("meta"):
        return build_network(cfg).eval()


def multiply_adds(network: nn.Module, cfg: Config, size: tuple[int, int]) -> int:
    """Of one forward pass of a network on the meta device."""
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | list[Tensor]) -> None:
        nonlocal total
        if not isinstance(output, Tensor):
            return  # a convolution shared by the levels of a pyramid: each level is a module that counts for itself
        weight = module.weight
        assert isinstance(weight, Tensor)
        through = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += through.numel() * weight[0].numel()

    handles = [
        module.register_forward_hook(add)
        for module in network.modules()
        if getattr(module, "weight", None) is not None and module.weight.dim() in (2, 4)  # type: ignore[union-attr]
    ]
    data = torch.zeros(1, 3, *size, device="meta")
    if task_of(cfg) is not DETECTION:  # one stage
        network(data)
    else:
        with given_proposals(network, cfg.TEST.RPN_POST_NMS_TOP_N):
            network(data, torch.zeros(1, 3, device="meta"))
    for handle in handles:
        handle.remove()
    return total


@contextmanager
def given_proposals(network: nn.Module, rois: int) -> Iterator[None]:
    """The network with proposals that are not computed, and, under a pyramid, all pooled from its first level: their
    values would be needed, which the meta device has not. Every level pools with as many products."""
    replaced = [module for path, module in network.named_modules() if path.rpartition(".")[2] == "proposal"]
    assert replaced, "a detection network has a module named `proposal`"
    for module in replaced:
        module.forward = lambda *args, **kwargs: torch.zeros(rois, 5, device="meta")  # type: ignore[method-assign]
    for module in network.modules():
        if isinstance(module, PyramidRoIPool):
            first = next(module.children())
            module.forward = lambda maps, rois, first=first: first(maps[0], rois)  # type: ignore[method-assign]
            replaced.append(module)
    try:
        yield
    finally:
        for module in replaced:
            del module.forward
