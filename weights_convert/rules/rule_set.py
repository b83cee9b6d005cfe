"""The rules of one network, expanded, and the account they give of a file: every key on both sides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.network import ALIGNED, RESNET, TORCHVISION, NetworkSpec
from weights_convert.rules import aligned_inception_resnet as aligned
from weights_convert.rules import aligned_inception_resnet_nodes as aligned_nodes
from weights_convert.rules import (
    class_aware_rpn,
    class_aware_rpn_nodes,
    deeplab,
    deeplab_nodes,
    fpn,
    fpn_nodes,
    rcnn,
    rcnn_nodes,
    resnet,
    resnet_nodes,
    rfcn,
    rfcn_nodes,
)
from weights_convert.rules.resnet import DROPS
from weights_convert.rules.rule import TEST_SUFFIX, Drop, Entry, NodeRule, Rule, expand
from weights_convert.rules.scopes import scopes_of

RULES_VERSION = "1"
RULES: dict[str, tuple[Rule, ...]] = {  # by family, as NODES
    "rfcn": rfcn.RULES,
    "rcnn": rcnn.RULES,
    "class_aware_rpn": class_aware_rpn.RULES,
    "fpn": fpn.RULES,
    "deeplab": deeplab.RULES,
}
NODES: dict[str, tuple[NodeRule, ...]] = {
    "rfcn": rfcn_nodes.NODES,
    "rcnn": rcnn_nodes.NODES,
    "class_aware_rpn": class_aware_rpn_nodes.NODES,
    "fpn": fpn_nodes.NODES,
    "deeplab": deeplab_nodes.NODES,
}
BACKBONES = {  # network.BACKBONE -> its part of the tables above, which are written with ResNet's
    RESNET: (resnet.BACKBONE, resnet_nodes.BACKBONE),
    TORCHVISION: (resnet.BACKBONE, resnet_nodes.BACKBONE),
    ALIGNED: (aligned.BACKBONE, aligned_nodes.BACKBONE),
}


@dataclass(frozen=True)
class RuleSet:
    """Every array of one network: `entries` by MXNet name, in the network's order; `drops` with their reasons."""

    entries: Mapping[str, Entry]
    drops: tuple[Drop, ...]
    spec: NetworkSpec

    @property
    def torch_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the network's state_dict, by its name."""
        return {entry.torch: entry.shape for entry in self.entries.values()}

    def file_names(self) -> dict[str, Entry]:
        """Every name a checkpoint may hold, `_test` copies included, and its entry."""
        names = dict(self.entries)
        names |= {e.mxnet + TEST_SUFFIX: e for e in self.entries.values() if e.test_copy}
        return names

    def reason_to_drop(self, name: str) -> str | None:
        return next((drop.why for drop in self.drops if drop.matches(name)), None)


@dataclass
class Account:
    """What became of every key: `matched` by MXNet name; `dropped` name -> reason; the rest are problems."""

    matched: set[str] = field(default_factory=set)
    dropped: dict[str, str] = field(default_factory=dict)
    missing: list[Entry] = field(default_factory=list)
    foreign: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    untyped: list[tuple[str, str]] = field(default_factory=list)
    halves: list[tuple[str, str]] = field(default_factory=list)
    backbone_only: bool = False

    @property
    def holds(self) -> bool:
        return not (self.foreign or self.mismatched or self.untyped or self.halves) and (
            not self.missing or self.backbone_only
        )


def rules_for(cfg: Config) -> RuleSet:
    """The expanded rules of a configuration's network.

    Raises: InputError for a family without rules or a rule table that maps two arrays to one name.
    """
    spec = NetworkSpec.from_config(cfg)
    return rules_of(spec)


def rules_of(spec: NetworkSpec) -> RuleSet:
    if spec.family not in RULES:
        raise InputError(f"rules_for: expected one of the families {', '.join(RULES)}, got {spec.family!r}")
    entries: dict[str, Entry] = {}
    tensors: set[str] = set()
    scopes = scopes_of(spec)
    for rule in tables_of(spec)[0]:
        for entry in expand(rule, scopes):
            if entry.mxnet in entries or entry.torch in tensors:
                raise InputError(f"rules_for: two rules give {entry.mxnet} or {entry.torch}; mend the rule table")
            entries[entry.mxnet] = entry
            tensors.add(entry.torch)
    return RuleSet(entries, DROPS, spec)


def tables_of(spec: NetworkSpec) -> tuple[tuple[Rule, ...], tuple[NodeRule, ...]]:
    """A family's tables of arrays and nodes, with the network's own backbone in the place of ResNet's."""
    rules, nodes = BACKBONES[spec.backbone]
    others = [rule for rule in RULES[spec.family] if rule not in resnet.BACKBONE]
    other_nodes = [rule for rule in NODES[spec.family] if rule not in resnet_nodes.BACKBONE]
    return (*rules, *others), (*nodes, *other_nodes)


def account_for(found: Mapping[str, tuple[str, tuple[int, ...], str]], rules: RuleSet) -> Account:
    """Compare a file's arrays with the rules.

    Args:
        found: name -> (state "arg", "aux" or "any", shape, kind of its dtype, "f" for floating point).
    """
    account = Account()
    names = rules.file_names()
    for name, (state, shape, kind) in found.items():
        entry = names.get(name)
        if entry is None or state not in (entry.state, "any"):
            why = rules.reason_to_drop(name)
            if why is None:
                account.foreign.append((name if entry is None else f"{state}:{name}", shape))
            else:
                account.dropped[name] = why
        elif shape != entry.shape:
            account.mismatched.append((name, shape, entry.shape))
        elif kind != "f":
            account.untyped.append((name, kind))
        else:
            account.matched.add(name)
    account.missing = [entry for name, entry in rules.entries.items() if name not in found]
    account.halves = half_test_copies(found, rules)
    absent = {entry.mxnet for entry in account.missing}
    heads = {name for name, entry in rules.entries.items() if not entry.in_backbone_file}
    account.backbone_only = absent == heads
    return account


def half_test_copies(found: Mapping[str, object], rules: RuleSet) -> list[tuple[str, str]]:
    """(absent, present) where some `_test` copies are there and others not: both belong to one layer."""
    copies = [entry.mxnet + TEST_SUFFIX for entry in rules.entries.values() if entry.test_copy]
    present = [name for name in copies if name in found]
    return [(name, present[0]) for name in copies if present and name not in found]


def nodes_of(cfg: Config, is_train: bool) -> list[tuple[str, str | None, str]]:
    """(node, module path or None, reason if None) for every node of the graph, expanded."""
    spec = NetworkSpec.from_config(cfg)
    scopes = dict(scopes_of(spec))
    scopes["hard_example_mining"] = scopes["network"] if cfg.TRAIN.ENABLE_OHEM else []
    phase = "train" if is_train else "test"
    return [
        (rule.node.format_map(b), rule.torch and rule.torch.format_map(b), rule.why)
        for rule in tables_of(spec)[1]
        if rule.phase in ("both", phase)
        for b in scopes[rule.each]
    ]


def node_map(cfg: Config, is_train: bool) -> dict[str, str]:
    """MXNet node name -> path of the PyTorch module that computes it (see `nodes_without_counterpart` for the others).

    Values agree up to a reshape: [R, C, 1, 1] of MXNet's pooling is [R, C] of PyTorch's.
    """
    return {node: torch for node, torch, _ in nodes_of(cfg, is_train) if torch is not None}


def tensor_paths(cfg: Config) -> dict[str, str]:
    """Name of every parameter and auxiliary state in MXNet -> its path in the PyTorch network."""
    return {name: entry.torch for name, entry in rules_for(cfg).entries.items()}


def nodes_without_counterpart(cfg: Config, is_train: bool) -> dict[str, str]:
    """MXNet node name -> why no PyTorch module computes it."""
    return {node: why for node, torch, why in nodes_of(cfg, is_train) if torch is None}
