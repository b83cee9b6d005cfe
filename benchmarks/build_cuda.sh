#!/usr/bin/env bash
# Builds the CUDA library: bash benchmarks/build_cuda.sh TARGET.so [--ptxas REPORT.txt]
# Needs nvcc (12.4 or newer) and the headers of the active Python's PyTorch (2.10 or newer; a CPU wheel is enough);
# no GPU. torch's CUDAExtension refuses a CPU wheel, hence nvcc by hand.
#   DCN_CUDA_ARCHS="80 90"  compute capabilities to make machine code for (the newest also as PTX);
#                           default "75 80 86 89 90"; "native": those of the GPUs in this machine
#   DCN_JOBS=2              compiler processes at a time; default: all processors
#   DCN_CUDA_BUILD=DIR      where objects are kept between builds; default build/cuda-<archs>
#   NVCC, PYTHON            the compiler and the interpreter to ask; default: nvcc and python on the PATH
set -euo pipefail
die() { echo "build_cuda.sh: $*" >&2; exit 2; }

[[ $# -ge 1 ]] || die "expected TARGET.so, got nothing: bash benchmarks/build_cuda.sh torch_port/_dcn_cuda.so"
target=$(realpath -m "$1")
report=""
[[ ${2:-} == --ptxas ]] && report=$(realpath -m "${3:?--ptxas: expected a file}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

nvcc=${NVCC:-nvcc}
command -v "$nvcc" >/dev/null || nvcc=${CUDA_HOME:-/usr/local/cuda}/bin/nvcc
command -v "$nvcc" >/dev/null || die "no nvcc on the PATH or in CUDA_HOME: install the CUDA toolkit or set NVCC"
python=${PYTHON:-python}
torch_root=$("$python" -c 'import torch; print(torch.__path__[0])') || die "$python cannot import torch: activate the environment or set PYTHON"

archs=${DCN_CUDA_ARCHS:-75 80 86 89 90}
build=${DCN_CUDA_BUILD:-build/cuda-$(tr -s ' ;,' '-' <<<"$archs")}
if [[ $archs == native ]]; then
  gencode=(-arch=native)
else
  gencode=()
  for arch in ${archs//[;,]/ }; do
    [[ $arch =~ ^[0-9]+a?$ ]] || die "DCN_CUDA_ARCHS: expected numbers such as \"80 90\", got \"$archs\""
    gencode+=("-gencode=arch=compute_$arch,code=sm_$arch")
  done
  gencode+=("-gencode=arch=compute_$arch,code=compute_$arch")
fi

flags=(-std=c++20 -O3 --compiler-options=-fPIC,-fvisibility=hidden,-ffp-contract=off --expt-relaxed-constexpr
       -DTORCH_TARGET_VERSION=0x020a000000000000 -Itorch_port/csrc
       -isystem "$torch_root/include" -isystem "$torch_root/include/torch/csrc/api/include"
       -Werror=all-warnings -Xcudafe=--diag_suppress=20012,--diag_suppress=128,--diag_suppress=940 "${gencode[@]}")
[[ -n $report ]] && flags+=(-Xptxas=-v)

mkdir -p "$build" "$(dirname "$target")"
[[ $(cat "$build/flags" 2>/dev/null) == "${flags[*]}" ]] || { rm -f "$build"/*.o; echo "${flags[*]}" >"$build/flags"; }

compile() {  # SOURCE: to an object, unless that is newer than the source and every header
  local object=$build/$(basename "$1").o
  if [[ -f $object && -z $(find torch_port/csrc "$1" \( -name '*.h' -o -name '*.cuh' -o -samefile "$1" \) -newer "$object") ]]; then
    return 0
  fi
  "$nvcc" "${flags[@]}" -c "$1" -o "$object" >"$object.log" 2>&1 || { cat "$object.log" >&2; rm -f "$object"; return 1; }
}

status=0
jobs_at_once=${DCN_JOBS:-$(nproc)}
pids=()
for source in torch_port/csrc/cuda/*.cu torch_port/csrc/cuda/*.cpp; do
  while [[ $(jobs -rp | wc -l) -ge $jobs_at_once ]]; do wait -n || status=1; done
  compile "$source" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
[[ $status == 0 ]] || die "a source did not compile (see above)"
[[ -n $report ]] && cat "$build"/*.cu.o.log >"$report"

objects=()
for source in torch_port/csrc/cuda/*.cu torch_port/csrc/cuda/*.cpp; do objects+=("$build/$(basename "$source").o"); done
"$nvcc" "${gencode[@]}" -shared "${objects[@]}" -o "$target.partial" -L"$torch_root/lib" -ltorch -ltorch_cpu -lc10 -ldl
mv "$target.partial" "$target"
echo "build_cuda.sh: $target for ${archs// /, }" >&2
