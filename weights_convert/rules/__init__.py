"""Which MXNet array becomes which PyTorch tensor, as data."""

from weights_convert.rules.rule_set import (
    RULES_VERSION,
    RuleSet,
    node_map,
    nodes_without_counterpart,
    rules_for,
    tensor_paths,
)

__all__ = ["RULES_VERSION", "RuleSet", "node_map", "nodes_without_counterpart", "rules_for", "tensor_paths"]
