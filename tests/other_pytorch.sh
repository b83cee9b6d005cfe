#!/usr/bin/env bash
# Shows that one CPU wheel serves another PyTorch, and another Python, than it was built with.
#   bash tests/other_pytorch.sh [TORCH VERSION] [PYTHON]        default: 2.10.0, the oldest, and python3
# Builds the wheel with the PyTorch of $BUILD_PYTHON (default: python), makes an environment under build/ with the other
# PyTorch, installs the wheel there, and runs the operators' tests on the installed library: not a file is compiled again.
# PyPI's wheels of PyTorch bring CUDA libraries (4 GB); DCN_TORCH_INDEX names an index with CPU wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
version="${1:-2.10.0}" python="${2:-python3}" build_python="${BUILD_PYTHON:-python}"
folder="$PWD/build/other_pytorch-$version"
environment="${DCN_OTHER_ENVIRONMENT:-$folder/venv}"

rm -rf "$folder/wheel"
DCN_CUDA=0 "$build_python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$folder/wheel" .
wheel=("$folder"/wheel/*.whl)
[[ "${wheel[0]}" == *-py3-none-* ]] || { echo "expected a wheel tagged py3-none, got ${wheel[0]##*/}" >&2; exit 1; }

[ -x "$environment/bin/python" ] || "$python" -m venv "$environment"
pip=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" ${DCN_TORCH_INDEX:+--index-url "$DCN_TORCH_INDEX"} "torch==$version"
"${pip[@]}" numpy PyYAML easydict rich pytest
"${pip[@]}" --no-deps --force-reinstall "${wheel[0]}"

built="$("$build_python" -c 'import torch; print(torch.__version__)')"
cd tests # out of the source tree, whose torch_port would come first
unset PYTHONPATH
"$environment/bin/python" - "$built" <<'PYTHON'
import sys, torch, torch_port.ops
from torch_port.ops.library import CPU_LIBRARY
assert "site-packages" in str(CPU_LIBRARY), CPU_LIBRARY
print(f"library built with PyTorch {sys.argv[1]}, running on PyTorch {torch.__version__}, Python {sys.version.split()[0]}")
PYTHON
"$environment/bin/pytest" -p no:cacheprovider -q -m "not mxnet and not slow and not cuda" \
    ops/test_torchvision_compat.py ops/test_deform_conv.py ops/test_deform_conv_behaviour.py \
    ops/test_deform_conv_transforms.py ops/test_deform_psroi_pool_transforms.py ops/test_roi_pooling_transforms.py \
    ops/test_roi_operators.py ops/test_psroi_pool.py ops/test_roi_pool.py ops/test_nms.py ops/test_proposal.py ops/test_vmap_by_batch.py \
    ops/test_compile_and_export.py
