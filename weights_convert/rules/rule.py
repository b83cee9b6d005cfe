"""Rules as data: which MXNet array is which PyTorch tensor, and which MXNet node which module.

A pattern's `{field}` is filled from every binding of the rule's scope (`scopes.py`), so one line of a table stands for
as many arrays as the network has of that kind: three lines for the 99 bottleneck convolutions of ResNet-101.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

Binding = Mapping[str, int | str]
Scopes = Mapping[str, list[Binding]]

TEST_SUFFIX = "_test"
TRAIN_PREFIX = "train/"


@dataclass(frozen=True)
class Rule:
    """`mxnet` array <-> `torch` tensor, same layout, same bits.

    shape: extents as integers or as field names of the scope. each: scope whose bindings fill the fields.
    state: "arg" for what training changes by gradient, "aux" for BatchNorm's statistics.
    test_copy: the checkpoint also has `{mxnet}_test`, un-normalised, which is what inference takes; `mxnet` itself then
    becomes the tensor `train/{torch}`.
    in_backbone_file: an ImageNet checkpoint has it.
    """

    mxnet: str
    torch: str
    shape: tuple[int | str, ...]
    each: str = "network"
    state: Literal["arg", "aux"] = "arg"
    test_copy: bool = False
    in_backbone_file: bool = False


@dataclass(frozen=True)
class Drop:
    """Arrays that a file may have and the network has no place for, with the reason. `*` matches anything."""

    pattern: str
    why: str

    def matches(self, name: str) -> bool:
        return fnmatchcase(name, self.pattern)


def drop(pattern: str, *, why: str) -> Drop:
    return Drop(pattern, why)


@dataclass(frozen=True)
class NodeRule:
    """MXNet `node` <-> PyTorch module path `torch`; None says there is none, and `why` says why."""

    node: str
    torch: str | None
    each: str = "network"
    phase: Literal["both", "train", "test"] = "both"
    why: str = ""


@dataclass(frozen=True)
class Entry:
    """One expanded rule: an array by its MXNet name, its tensor's name, the shape of both."""

    mxnet: str
    torch: str
    shape: tuple[int, ...]
    state: Literal["arg", "aux"]
    test_copy: bool
    in_backbone_file: bool


def expand(rule: Rule, scopes: Scopes) -> list[Entry]:
    """The rule once per binding of its scope."""
    return [
        Entry(
            rule.mxnet.format_map(binding),
            rule.torch.format_map(binding),
            tuple(int(binding[extent]) if isinstance(extent, str) else extent for extent in rule.shape),
            rule.state,
            rule.test_copy,
            rule.in_backbone_file,
        )
        for binding in scopes[rule.each]
    ]


def convolution(
    mxnet: str,
    torch: str,
    shape: tuple[int | str, ...],
    *,
    bias: bool = True,
    each: str = "network",
    test_copy: bool = False,
    in_backbone_file: bool = False,
) -> tuple[Rule, ...]:
    """Weight [out, in, height, width] and bias [out]; MXNet and PyTorch lay both out alike."""
    more: dict[str, Any] = {"each": each, "test_copy": test_copy, "in_backbone_file": in_backbone_file}
    weight = Rule(f"{mxnet}_weight", f"{torch}.weight", shape, **more)
    return (weight, Rule(f"{mxnet}_bias", f"{torch}.bias", shape[:1], **more)) if bias else (weight,)


def fully_connected(
    mxnet: str, torch: str, shape: tuple[int | str, int | str], *, each: str = "network", test_copy: bool = False
) -> tuple[Rule, ...]:
    """Weight [out, in] and bias [out]; `in` counts C, H, W in this order, in MXNet as in PyTorch."""
    return convolution(mxnet, torch, shape, each=each, test_copy=test_copy)


def batch_norm(
    mxnet: str, torch: str, channels: str, *, each: str = "network", in_backbone_file: bool = False
) -> tuple[Rule, ...]:
    """gamma, beta and the two moving statistics; fix_gamma is False in this family, so gamma counts as stored."""
    more: dict[str, Any] = {"each": each, "in_backbone_file": in_backbone_file}
    return (
        Rule(f"{mxnet}_gamma", f"{torch}.weight", (channels,), **more),
        Rule(f"{mxnet}_beta", f"{torch}.bias", (channels,), **more),
        Rule(f"{mxnet}_moving_mean", f"{torch}.running_mean", (channels,), state="aux", **more),
        Rule(f"{mxnet}_moving_var", f"{torch}.running_var", (channels,), state="aux", **more),
    )
