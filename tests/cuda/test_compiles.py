"""The CUDA library compiles for one architecture wherever nvcc is, loads without a GPU and registers every operator."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NVCC = os.environ.get("NVCC") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
pytestmark = pytest.mark.skipif(not Path(NVCC).exists(), reason="no nvcc: the CUDA sources cannot be compiled here")

OPERATORS = ("deform_conv2d", "deform_conv2d_backward", "deform_psroi_pool", "deform_psroi_pool_backward", "psroi_pool",
             "psroi_pool_backward", "roi_pool", "roi_pool_with_argmax", "roi_pool_backward", "nms", "proposal")  # fmt: skip

LOAD = """
import sys, torch, torch_port.ops
torch.ops.load_library(sys.argv[1])
for name in sys.argv[2:]:
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"dcn::{name}", "CUDA"), name
assert torch.ops.dcn.set_cuda_tf32(True) is False and torch.ops.dcn.set_cuda_tf32(False) is True
assert torch.ops.dcn.set_cuda_fused(True) is True
print("every operator is there")
"""


def test_library_compiles_without_spills_and_registers_every_operator(tmp_path):
    library, report = tmp_path / "_dcn_cuda.so", tmp_path / "ptxas.txt"
    environment = {**os.environ, "DCN_CUDA_ARCHS": "80", "PYTHON": sys.executable, "NVCC": NVCC}
    command = ["bash", str(REPOSITORY / "benchmarks/build_cuda.sh"), str(library), "--ptxas", str(report)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    sys.path.insert(0, str(REPOSITORY / "benchmarks"))
    try:
        from gpu_ptxas import kernels
    finally:
        sys.path.pop(0)
    found = kernels(report.read_text())
    assert len(found) > 80
    assert [k for k in found if k.spilled_bytes > 64] == []
    done = subprocess.run([sys.executable, "-c", LOAD, str(library), *OPERATORS], capture_output=True, text=True)
    assert done.returncode == 0 and "every operator is there" in done.stdout, done.stderr
