#!/usr/bin/env bash
# Runs the operators' tests on a build of the CPU library with a sanitizer, kept beside the ordinary one.
#   bash tests/sanitizers.sh address [pytest arguments]      any read or write beyond an array
#   bash tests/sanitizers.sh undefined [pytest arguments]    UndefinedBehaviorSanitizer: overflow, shifts, misaligned or null
#                                                            pointers, casts of numbers that the type does not hold
# Default arguments: tests/ops without MXNet, without slow tests, and without the tests of the shipped library's symbols
# (this one links the sanitizer). The first finding ends the run with its place in the source, on stderr.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python}"
compiler="${CXX:-g++}"
case "${1:-}" in
  address) checks=address runtime=libasan.so ;;
  undefined) checks=undefined,float-cast-overflow runtime=libubsan.so ;;
  *) echo "sanitizers.sh: expected address or undefined, got '${1:-}'" >&2; exit 2 ;;
esac
build="$PWD/build/$1"
shift
DCN_SANITIZE=$checks DCN_CUDA=0 "$python" setup.py -q build_ext --build-lib "$build"
# pytest keeps what a test writes to stderr, and an abort loses it: the finding goes to a file.
mkdir -p "$build/findings"
rm -f "$build/findings/"*
common="halt_on_error=1:abort_on_error=1:log_path=$build/findings/finding"
# Python and PyTorch keep memory until the end: leaks are not what this looks for.
export ASAN_OPTIONS="$common:detect_leaks=0:allocator_may_return_null=1" UBSAN_OPTIONS="$common:print_stacktrace=1"
export DCN_CPU_LIBRARY="$build/torch_port/_dcn_cpu.so"
[ $# -gt 0 ] || set -- tests/ops -q -m "not slow and not mxnet and not cuda" --ignore tests/ops/test_stable_abi.py
status=0
LD_PRELOAD="$("$compiler" -print-file-name=$runtime) $("$compiler" -print-file-name=libstdc++.so.6)" \
  "$python" -m pytest -p no:cacheprovider "$@" || status=$?
cat "$build/findings/"* >&2 2>/dev/null || true
exit "$status"
