"""torch_port.onnx where its packages are not installed."""

import importlib.util

import pytest
import torch
from torch import nn

import torch_port.onnx


def test_without_the_packages_the_error_says_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxscript" else find(name, *a))
    with pytest.raises(ImportError, match=r"needs onnxscript, which is not installed: pip install 'dcn-port\[onnx\]'"):
        torch_port.onnx.export(nn.ReLU(), (torch.zeros(1),), tmp_path / "x.onnx")
