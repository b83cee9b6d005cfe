#!/usr/bin/env bash
# Runs the operators' tests on a build of the CPU library with AddressSanitizer, kept beside the ordinary one.
#   bash tests/asan.sh [pytest arguments]        default: tests/ops without MXNet, without slow tests, and without the test
#                                                of the shipped library's symbols (this one links AddressSanitizer)
# Any read or write beyond an array ends the run with the place in the source.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python}"
compiler="${CXX:-g++}"
DCN_SANITIZE=address DCN_CUDA=0 "$python" setup.py -q build_ext --build-lib build/asan
runtime="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so.6)"
# Python and PyTorch keep memory until the end: leaks are not what this looks for.
export ASAN_OPTIONS="detect_leaks=0:halt_on_error=1:abort_on_error=1:allocator_may_return_null=1"
export DCN_CPU_LIBRARY="$PWD/build/asan/torch_port/_dcn_cpu.so"
[ $# -gt 0 ] || set -- tests/ops -q -m "not slow and not mxnet and not cuda" --ignore tests/ops/test_stable_abi.py
LD_PRELOAD="$runtime" exec "$python" -m pytest -p no:cacheprovider "$@"
