"""Export to ONNX: `torch_port.onnx.export`. Needs the packages onnx and onnxscript (the extra `onnx`)."""

from torch_port.onnx.export import export

__all__ = ["export"]
