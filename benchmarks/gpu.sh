#!/usr/bin/env bash
# Everything that needs a GPU, in one command of under ten minutes: bash benchmarks/gpu.sh [--dry-run] [OUT_DIR]
# --dry-run: the same steps on the CPU with small shapes, to see that every line runs; times nothing.
# Builds both libraries for the GPU found, runs the golden and GPU tests, compute-sanitizer on a part of them where it is
# installed, and the timings. Writes benchmarks/results/gpu-<device>.json and .md, or into OUT_DIR.
# Needs: an NVIDIA GPU, nvcc, g++, a Python (3.10 or newer) whose PyTorch (2.10 or newer) sees the GPU, pytest, NumPy.
#   PYTHON=/path/python   the interpreter; default: the first of python, python3, .venv/bin/python that qualifies
#   DCN_CUDA_ARCHS        default "native"
# Exit code: 0 all held, 1 something did not (the timings are still made), 2 it could not start.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dry=()
[[ ${1:-} == --dry-run ]] && dry=(--dry-run) && shift
out=${1:-benchmarks/results}
mkdir -p "$out"
say() { echo "== $* ($(date -u +%H:%M:%S))" >&2; }

# Needs a GPU, unless this is a dry run.
qualifies() { command -v "$1" >/dev/null && "$1" -c 'import sys, pytest, numpy, torch; sys.exit(not sys.argv[1:] and not torch.cuda.is_available())' "${dry[@]}" 2>/dev/null; }
if [[ -z ${PYTHON:-} ]]; then
  for candidate in python python3 .venv/bin/python; do
    if qualifies "$candidate"; then PYTHON=$candidate; break; fi
  done
fi
[[ -n ${PYTHON:-} ]] && qualifies "$PYTHON" || {
  echo "gpu.sh: no Python with pytest, NumPy and a PyTorch that sees a GPU: set PYTHON" >&2
  exit 2
}
export PYTHON PYTHONPATH=$PWD DCN_CUDA=1 DCN_CUDA_ARCHS=${DCN_CUDA_ARCHS:-native}
marker=cuda device=cuda
[[ ${#dry[@]} == 0 ]] || DCN_CUDA=0 marker="not cuda and not slow" device=cpu
say "$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU", "torch", torch.__version__)')"

say "build"
"$PYTHON" setup.py -q build_ext --inplace || { echo "gpu.sh: the build failed" >&2; exit 2; }

status=0
say "tests"
timeout 200 "$PYTHON" -m pytest -q -p no:cacheprovider -m "$marker" tests/cuda/test_g*.py --junitxml="$out/gpu-tests.xml" 2>&1 | tee "$out/gpu-tests.log" | tail -15
[[ ${PIPESTATUS[0]} == 0 ]] || status=1

sanitizer=absent
if [[ $device == cpu ]]; then
  "$PYTHON" benchmarks/gpu_sanitize.py cpu >"$out/gpu-memcheck.log" 2>&1 || { cat "$out/gpu-memcheck.log" >&2; status=1; }
elif command -v compute-sanitizer >/dev/null; then
  say "compute-sanitizer"
  sanitizer=held
  for tool in memcheck racecheck; do
    timeout 75 compute-sanitizer --tool "$tool" --error-exitcode 9 "$PYTHON" benchmarks/gpu_sanitize.py >"$out/gpu-$tool.log" 2>&1
    code=$?
    if [[ $code == 9 ]]; then sanitizer="$tool found errors"; status=1
    elif [[ $code != 0 ]]; then sanitizer="$tool did not finish (exit code $code)"; fi
    [[ $code == 0 ]] || { tail -5 "$out/gpu-$tool.log" >&2; break; }
  done
fi

say "timings"
timeout 150 "$PYTHON" benchmarks/gpu_time.py "${dry[@]}" --out "$out" --tests "$out/gpu-tests.xml" --sanitizer "$sanitizer" || status=1
say "done, exit code $status"
exit "$status"
