"""The fused kernel's index arithmetic, run on the CPU by tests/cuda/emulate_fused.cpp."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILER = os.environ.get("CXX", "g++")


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C++ compiler {COMPILER}")
def test_every_tile_of_every_case_agrees_and_stays_inside_its_arrays(tmp_path):
    program = tmp_path / "emulate_fused"
    flags = ["-std=c++20", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [f"-I{HERE.parents[1] / 'torch_port/csrc'}", str(HERE / "emulate_fused.cpp")]
    subprocess.run([COMPILER, *flags, *sources, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("holds") == 24
