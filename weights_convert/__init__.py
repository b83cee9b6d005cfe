"""MXNet parameter files and graphs in, PyTorch weights out, and back; never needs MXNet, and PyTorch only for tensors."""

from weights_convert.arrays import Params, Sparse
from weights_convert.families import Converted, configs_that_fit, convert_params, to_mxnet, to_torch
from weights_convert.graph import Graph, Node, load_symbol, parse_symbol
from weights_convert.load import load_params
from weights_convert.rules import RULES_VERSION, RuleSet, node_map, nodes_without_counterpart, rules_for, tensor_paths
from weights_convert.save import save_params
from weights_convert.torchvision_backbone import from_caffe_layout, from_torchvision, is_torchvision
from weights_convert.weights_file import WeightsFile, load_weights, save_weights


def __getattr__(name: str) -> object:
    """`convert` brings PyTorch along, so it is imported when first asked for."""
    if name != "convert":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from weights_convert.translate import convert

    return convert


__all__ = [
    "RULES_VERSION",
    "Converted",
    "Graph",
    "Node",
    "Params",
    "RuleSet",
    "Sparse",
    "WeightsFile",
    "configs_that_fit",
    "convert",
    "convert_params",
    "from_caffe_layout",
    "from_torchvision",
    "is_torchvision",
    "load_params",
    "load_symbol",
    "load_weights",
    "node_map",
    "nodes_without_counterpart",
    "parse_symbol",
    "rules_for",
    "save_params",
    "save_weights",
    "tensor_paths",
    "to_mxnet",
    "to_torch",
]
