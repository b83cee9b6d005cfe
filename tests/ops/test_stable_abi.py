"""What the CPU library asks of PyTorch and of Python: LibTorch's stable ABI, and nothing of Python at all."""

import re
import sys
from pathlib import Path

import pytest
import torch
from elf import read_library

from torch_port.ops.library import CPU_LIBRARY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads ELF libraries: Linux only")
CPP_OF_PYTORCH = re.compile(r"^_Z\w*?N\w?(2at|3c10|5torch|6caffe2)")  # mangled names in at::, c10::, torch::, caffe2::
PYTHON = re.compile(r"^_?Py[A-Z_]")


def test_the_reader_sees_what_pytorchs_own_python_library_asks_for():
    library = read_library(Path(torch.__file__).parent / "lib" / "libtorch_python.so")
    assert any(CPP_OF_PYTORCH.match(name) for name in library.undefined)
    assert any(PYTHON.match(name) for name in library.undefined)


def test_no_symbol_of_pytorchs_cpp_interface():
    undefined = read_library(CPU_LIBRARY).undefined
    assert not [name for name in undefined if CPP_OF_PYTORCH.match(name)]
    stable = {name for name in undefined if name.startswith(("aoti_torch_", "torch_"))}
    assert {"aoti_torch_library_def", "torch_parallel_for"} <= stable


def test_no_symbol_of_python():
    library = read_library(CPU_LIBRARY)
    assert not [name for name in library.undefined if PYTHON.match(name)]
    assert not [name for name in library.needed if "python" in name]


def test_symbols_come_from_pytorch_and_the_c_and_cpp_libraries_only():
    known = {"libtorch.so", "libtorch_cpu.so", "libc10.so", "libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6",
             "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}  # fmt: skip
    assert read_library(CPU_LIBRARY).needed <= known
