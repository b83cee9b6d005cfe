"""Any MXNet graph as a PyTorch module: operators, module, readable source, and the way back."""

from weights_convert.translate.module import convert, input_names, mxnet_names
from weights_convert.translate.registry import REGISTRY, Operator, operator

__all__ = ["REGISTRY", "Operator", "convert", "input_names", "mxnet_names", "operator"]
