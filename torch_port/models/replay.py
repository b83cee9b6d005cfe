"""Replaying another run's decisions, so that the gradients of two implementations can be compared.

A network takes decisions: which ReLUs pass, which pixel a max pool takes, which RoIs are kept, sampled and hard, and
into which cell of the map a sample falls. One decision taken differently, by one rounding, moves many gradients a
hundredfold in correct code. `replaying` makes a network take recorded decisions and counts the ones it would have taken
differently.

A decision is named by the path of the module that takes it, with `:part` where it has several parts:

    path of a ReLU                      mask, output shape: 1 passes, 0 blocks
    path of a CeilMaxPool               index of the taken pixel in the flattened H*W, output shape
    path of a PaddedMaxPool             the same
    path of a RoIPool                   the same; -1 where a bin has no pixel
    path of a Proposal, PyramidProposal RoIs [R, 5]
    PATH:rois :labels :bbox_targets :bbox_weights          of a ProposalTarget; all four
    PATH:labels :bbox_weights           of a HardRoISelector; both
    PATH:offset                         of a (Modulated)DeformConv2d or DeformPSRoIPool: its offsets; their value is the recorded
                                        one, their gradient flows to the network's own
    PATH:cells                          of the same, instead: offsets too, but they count only where the network's own
                                        lead into another bilinear cell; everywhere else the own ones stay
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dcn_tasks.errors import InputError
from torch_port.layers import (
    CeilMaxPool,
    DeformConv2d,
    DeformPSRoIPool,
    ModulatedDeformConv2d,
    PaddedMaxPool,
    Proposal,
    PyramidProposal,
    RoIPool,
)
from torch_port.models.positions import conv_positions, pool_positions
from torch_port.models.sampling import HardRoIs, HardRoISelector, ProposalTarget, RoISamples
from torch_port.ops.roi_pool import gather


@dataclass
class ReplayReport:
    """total and differing: number of decisions by name, and of those that the network alone would take differently.

    A decision is one element of a mask, index or label, one RoI (by its row; differing above 0.5 px in a coordinate),
    or one coordinate of a sampling position (differing where it falls into another cell).
    """

    total: dict[str, int] = field(default_factory=dict)
    differing: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, differs: Tensor) -> None:
        self.total[name] = self.total.get(name, 0) + differs.numel()
        self.differing[name] = self.differing.get(name, 0) + int(differs.sum())

    def rows(self) -> list[tuple[str, int, int]]:
        """(name, differing, total) of every decision that was replayed, in the order of the forward pass."""
        return [(name, self.differing[name], total) for name, total in self.total.items()]


Parts = dict[str, np.ndarray]  # part -> recorded array; part "" for a decision that has one part only


class Replay:
    """Hooks that put one module's recorded decision in the place of its own."""

    def __init__(self, path: str, module: nn.Module, parts: Parts, report: ReplayReport):
        self.path, self.module, self.parts, self.report = path, module, parts, report

    def attach(self) -> torch.utils.hooks.RemovableHandle:
        for kind, (expected, replay, before) in KINDS.items():
            if isinstance(self.module, kind):
                self.check(expected)
                hook = getattr(self, replay)
                register = self.module.register_forward_pre_hook if before else self.module.register_forward_hook
                return register(hook)
        known = ", ".join(kind.__name__ for kind in KINDS)
        raise InputError(
            f"replaying: {self.path} is a {type(self.module).__name__}, which takes no decision; expected one of "
            f"{known}: leave it out"
        )

    def check(self, expected: tuple[str, ...]) -> None:
        if expected == OFFSET_PARTS and set(self.parts) == {"cells"}:
            return
        if set(self.parts) != set(expected):
            names = [self.name(part) for part in expected]
            got = [self.name(part) for part in self.parts]
            raise InputError(
                f"replaying: expected {' and '.join(names)} together, got {' and '.join(got)}: record them all"
            )

    def name(self, part: str) -> str:
        return f"{self.path}:{part}" if part else self.path

    def recorded(self, part: str, like: Tensor, *, keep_dtype: bool = False, fixed_rows: bool = True) -> Tensor:
        """The recorded array as a tensor beside `like`, of its shape (rows aside unless `fixed_rows`)."""
        array = torch.as_tensor(np.ascontiguousarray(self.parts[part]))
        start = 0 if fixed_rows else 1
        if array.shape[start:] != like.shape[start:] or array.dim() != like.dim():
            raise InputError(
                f"replaying: {self.name(part)}: expected shape {tuple(like.shape)}, got {tuple(array.shape)}: was it "
                "recorded on the same input and configuration?"
            )
        return array.to(like.device) if keep_dtype else array.to(like)

    def relu(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        mask = (
            self.recorded("", output, keep_dtype=True) > 0
        )  # one byte an element is kept for the backward pass, not eight
        self.report.count(self.path, (args[0] > 0) != mask)
        return torch.where(mask, args[0], 0)  # a product of two dtypes takes longer

    def max_pool(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        taken = self.recorded("", output, keep_dtype=True).long()
        replayed = args[0].flatten(2).gather(2, taken.flatten(2)).view_as(output)
        # several pixels of a window may hold the same maximum: only a smaller value is another decision
        self.report.count(self.path, replayed.detach() < output.detach())
        return replayed

    def roi_pool(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        taken = self.recorded("", output, keep_dtype=True)
        replayed = gather(args[0], args[1], taken)
        self.report.count(self.path, replayed.detach() != output.detach())
        return replayed

    def proposal(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        rois = self.recorded("", output, fixed_rows=False)
        self.report.count(self.path, rows_differ(output, rois))
        return rois

    def proposal_target(self, module: nn.Module, args: tuple, output: RoISamples) -> RoISamples:
        samples = RoISamples(
            *(self.recorded(part, own, fixed_rows=False) for part, own in zip(output._fields, output, strict=True))
        )
        self.report.count(self.name("rois"), rows_differ(output.rois, samples.rois))
        if len(output.labels) == len(samples.labels):
            self.report.count(self.name("labels"), output.labels != samples.labels)
        return samples

    def hard_rois(self, module: nn.Module, args: tuple, output: HardRoIs) -> HardRoIs:
        chosen = HardRoIs(*(self.recorded(part, own) for part, own in zip(output._fields, output, strict=True)))
        self.report.count(self.name("labels"), output.labels != chosen.labels)
        return chosen

    def conv_offset(self, module: DeformConv2d | ModulatedDeformConv2d, args: tuple) -> tuple:
        input, offset, *others = args
        part, recorded = self.recorded_offset(offset)
        own, other = (conv_positions(module, each).floor() for each in (offset.detach(), recorded))
        self.report.count(self.name(part), own != other)
        return (input, replayed_offset(part, offset, recorded, (own != other).view_as(offset)), *others)

    def pool_offset(self, module: DeformPSRoIPool, args: tuple) -> tuple:
        input, rois, offset = args
        part, recorded = self.recorded_offset(offset)
        own, other = (pool_positions(module, rois, each).floor() for each in (offset.detach(), recorded))
        self.report.count(self.name(part), own != other)
        return (input, rois, replayed_offset(part, offset, recorded, moved_parts(module, own != other, offset)))

    def recorded_offset(self, offset: Tensor) -> tuple[str, Tensor]:
        """The part that was given ("offset" or "cells") and its values."""
        part = next(iter(self.parts))
        return part, self.recorded(part, offset)


def replayed_offset(part: str, own: Tensor, recorded: Tensor, differs: Tensor) -> Tensor:
    """The recorded value, everywhere ("offset") or where the cell differs ("cells"), with the gradient of `own`."""
    if part == "cells":
        recorded = torch.where(differs, recorded, own.detach())
    return recorded + (own - own.detach())


def moved_parts(module: DeformPSRoIPool, differs: Tensor, offset: Tensor) -> Tensor:
    """differs: [2, R, classes, P, P, S] per sample -> bool like offset: whether any sample of the part differs."""
    pooled, part = (module.arguments[name] for name in ("pooled_size", "part_size"))
    part_of_bin = torch.nn.functional.one_hot((torch.arange(pooled) * part) // pooled, part).to(offset)  # [P, part]
    per_part = part_of_bin.mT @ differs.any(dim=-1).to(offset) @ part_of_bin  # [2, R, classes, part, part]
    return (per_part > 0).permute(1, 2, 0, 3, 4).reshape(offset.shape)


OFFSET_PARTS = ("offset",)
SAMPLE_PARTS = ("rois", "labels", "bbox_targets", "bbox_weights")
# module type -> (parts of its decision, method of Replay, whether it runs before the module)
KINDS: dict[type[nn.Module], tuple[tuple[str, ...], str, bool]] = {
    nn.ReLU: (("",), "relu", False),
    CeilMaxPool: (("",), "max_pool", False),
    PaddedMaxPool: (("",), "max_pool", False),
    RoIPool: (("",), "roi_pool", False),
    Proposal: (("",), "proposal", False),
    PyramidProposal: (("",), "proposal", False),
    ProposalTarget: (SAMPLE_PARTS, "proposal_target", False),
    HardRoISelector: (("labels", "bbox_weights"), "hard_rois", False),
    DeformConv2d: (OFFSET_PARTS, "conv_offset", True),
    ModulatedDeformConv2d: (OFFSET_PARTS, "conv_offset", True),
    DeformPSRoIPool: (OFFSET_PARTS, "pool_offset", True),
}


def rows_differ(own: Tensor, recorded: Tensor) -> Tensor:
    """[max(R, R')] whether a RoI of one list differs from the same row of the other, or has none."""
    common = min(len(own), len(recorded))
    differs = torch.ones(max(len(own), len(recorded)), dtype=torch.bool)
    differs[:common] = ((own[:common] - recorded[:common]).abs() > 0.5).any(dim=1).cpu()
    return differs


@contextmanager
def replaying(network: nn.Module, decisions: Mapping[str, np.ndarray]) -> Iterator[ReplayReport]:
    """While the context is open, `network` takes `decisions` in the place of its own, in every forward.

    Args:
        network: any module that holds the named ones.
        decisions: name (see the top of this file) -> recorded array.
    Yields: the report, filled by the forwards run inside.
    Raises: InputError for a name that no module has, with the nearest one; for a module that takes no decision; for an
        array of another shape; and on leaving, for a decision that no forward asked for.
    """
    report = ReplayReport()
    modules = dict(network.named_modules())
    grouped: dict[str, Parts] = {}
    for name, array in decisions.items():
        path, _, part = name.partition(":")
        if path not in modules:
            near = get_close_matches(path, modules, 1)
            raise InputError(
                f"replaying: the network has no module {path!r}{f'; the nearest is {near[0]!r}' if near else ''}"
            )
        grouped.setdefault(path, {})[part] = array
    handles: list[Callable] = []
    try:
        for path, parts in grouped.items():
            handles.append(Replay(path, modules[path], parts, report).attach().remove)
        yield report
    finally:
        for remove in handles:
            remove()
    unused = sorted(path for path in grouped if not any(name.partition(":")[0] == path for name in report.total))
    if unused:
        raise InputError(f"replaying: no forward asked for {', '.join(unused)}: the decisions belong to another graph")


@contextmanager
def recording(network: nn.Module) -> Iterator[dict[str, np.ndarray]]:
    """While the context is open, every forward of `network` writes its decisions into the yielded dict.

    Yields: name -> array, as `replaying` takes them. Offsets are recorded only where a layer got any.
    """
    decisions: dict[str, np.ndarray] = {}
    deciding = {path: module for path, module in network.named_modules() if type(module) in KINDS}
    handles = [module.register_forward_hook(recorder(path, decisions)) for path, module in deciding.items()]
    try:
        yield decisions
    finally:
        for handle in handles:
            handle.remove()


def recorder(path: str, decisions: dict[str, np.ndarray]) -> Callable:
    """A forward hook that writes what the module at `path` decided."""

    def hook(module: nn.Module, args: tuple, output: Any) -> None:
        found: dict[str, Tensor] = {}
        if isinstance(module, nn.ReLU):
            found[path] = args[0] > 0
        elif isinstance(module, CeilMaxPool | PaddedMaxPool):
            found[path] = module.taken(args[0])
        elif isinstance(module, RoIPool):
            found[path] = module.taken(*args)
        elif isinstance(module, Proposal | PyramidProposal):
            found[path] = output
        elif isinstance(module, ProposalTarget | HardRoISelector):
            found = {f"{path}:{part}": value for part, value in output._asdict().items()}
        elif isinstance(module, DeformConv2d | ModulatedDeformConv2d):
            found[f"{path}:offset"] = args[1]
        elif len(args) > 2 and args[2] is not None:
            found[f"{path}:offset"] = args[2]
        decisions.update({name: value.detach().cpu().numpy().copy() for name, value in found.items()})

    return hook
