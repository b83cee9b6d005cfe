#!/usr/bin/env bash
# Sets the suite up in .venv and does one job. Idempotent: a second run finds everything done and takes seconds.
#
#   bash init.sh               set up only
#   bash init.sh demo          the whole story on generated data, one HTML report (under 5 minutes on 2 cores)
#   bash init.sh test          the quick tests;   bash init.sh test --full   everything
#
# Choices, each by an environment variable (the default is found out and said):
#   DCN_PYTHON        interpreter for .venv; MXNet 1.9.1 needs 3.8-3.11, the rest 3.10 or newer
#   DCN_MXNET         cpu | cu112 | none
#   DCN_CUDA          auto | 0 | 1: build the CUDA kernels (auto: 1 where PyTorch is a CUDA build and nvcc is found)
#   DCN_TORCH_INDEX   wheel index for PyTorch, e.g. https://download.pytorch.org/whl/cpu for the small CPU build
#   OMP_NUM_THREADS   threads of both frameworks (default: all cores)
#   DCN_TEST_PROCESSES  processes of the quick tests, which share the cores (default: one a core, at most 4)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '\033[1m[init]\033[0m %s\n' "$*" >&2; }
die() { printf '[init] %s\n' "$*" >&2; exit 1; }

usage() { sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

choose_python() {
    local candidate version
    if [ -n "${DCN_PYTHON:-}" ]; then
        version=$(python_version "$DCN_PYTHON") || die "DCN_PYTHON=$DCN_PYTHON is no Python"
        echo "$DCN_PYTHON"
        return
    fi
    for candidate in python3.11 python3.10 python3 python; do
        version=$(python_version "$candidate") || continue
        case "$version" in 3.10 | 3.11) echo "$candidate" && return ;; esac
    done
    for candidate in python3 python3.12 python3.13; do
        version=$(python_version "$candidate") || continue
        case "$version" in 3.1[2-9]) echo "$candidate" && return ;; esac
    done
    die "no Python 3.10 or newer found: install python3.11 and python3.11-venv (Debian: apt install python3.11-venv), or set DCN_PYTHON"
}

# mxnet-cu112 1.9.1 holds machine code for sm_50 to sm_86 and no PTX: newer GPUs can't run it.
choose_mxnet() {
    local version=$1 capability
    if [ -n "${DCN_MXNET:-}" ]; then echo "$DCN_MXNET" && return; fi
    case "$version" in 3.8 | 3.9 | 3.10 | 3.11) ;; *) echo none && return ;; esac
    [ "$(uname -m)" = x86_64 ] || { echo none && return; }
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d . || true)
    if [ -n "$capability" ] && [ "$capability" -ge 50 ] && [ "$capability" -le 86 ]; then echo cu112; else echo cpu; fi
}

fingerprint() { # what the environment was made from; another answer means: set up again
    {
        echo "$PYTHON $MXNET ${DCN_CUDA:-auto} ${DCN_TORCH_INDEX:-}"
        cat requirements/*.txt pyproject.toml setup.py benchmarks/build_cuda.sh 2>/dev/null
        find torch_port/csrc -type f -print0 | sort -z | xargs -0 cat
    } | sha256sum | cut -d' ' -f1
}

install_dependencies() {
    [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv ||
        die "could not make .venv: install the venv module (Debian: apt install python3-venv)"
    local pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
    say "installing PyTorch"
    "${pip[@]}" ${DCN_TORCH_INDEX:+--index-url "$DCN_TORCH_INDEX"} -r requirements/torch.txt
    say "installing the other dependencies"
    case "$MXNET" in
        none) "${pip[@]}" -r requirements/base.txt -r requirements/dev.txt ;;
        # MXNet's metadata admits NumPy versions that it can't import: numpy is pinned in the same call, so nothing pulls it up.
        *) "${pip[@]}" -r requirements/base.txt -r requirements/dev.txt -r "requirements/mxnet-$MXNET.txt" ;;
    esac
}

build_native() {
    local compiler=${CXX:-g++} cuda=${DCN_CUDA:-auto}
    command -v "$compiler" >/dev/null || die "no C++ compiler '$compiler': install one (Debian: apt install g++) or set CXX"
    if [ "$cuda" = auto ]; then
        cuda=0
        if command -v nvcc >/dev/null && .venv/bin/python -W ignore -c 'import sys, torch; sys.exit(torch.version.cuda is None)'; then cuda=1; fi
    fi
    say "building the native code (CUDA kernels: $([ "$cuda" = 1 ] && echo yes || echo no))"
    DCN_CUDA=$cuda .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
}

set_up() {
    PYTHON=$(choose_python)
    local version stamp
    version=$(python_version "$PYTHON")
    MXNET=$(choose_mxnet "$version")
    case "$MXNET" in
        none) say "Python $version; no MXNet here (it needs Python 3.8-3.11 on x86-64): conversion, the port and recorded parity work, the live oracle does not" ;;
        cpu) say "Python $version; MXNet 1.9.1 for CPU" ;;
        cu112) say "Python $version; MXNet 1.9.1 for CUDA 11.2 (GPU of sm_50 to sm_86 found)" ;;
        *) die "DCN_MXNET: expected cpu, cu112 or none, got '$MXNET'" ;;
    esac
    stamp=$(fingerprint)
    if [ "$(cat .venv/.dcn-stamp 2>/dev/null)" != "$stamp" ] || ! [ -f torch_port/_dcn_cpu.so ]; then
        rm -f .venv/.dcn-stamp
        install_dependencies
        build_native
        echo "$stamp" >.venv/.dcn-stamp
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
    if [ "$MXNET" = cu112 ]; then # MXNet looks for the CUDA 11 libraries by name only
        LD_LIBRARY_PATH=$(printf '%s:' "$PWD"/.venv/lib/python*/site-packages/nvidia/*/lib)${LD_LIBRARY_PATH:-}
        export LD_LIBRARY_PATH
    fi
    say "PyTorch $(.venv/bin/python -W ignore -c 'import torch; print(torch.__version__, "with CUDA" if torch.version.cuda else "CPU only")'); ready in .venv (OMP_NUM_THREADS=$OMP_NUM_THREADS)"
}

case "${1:-}" in
    "") set_up && say "try: .venv/bin/dcn --help" ;;
    demo) shift && set_up && exec .venv/bin/dcn demo "$@" ;;
    test)
        set_up
        case "${2:-}" in
            "")
                processes=${DCN_TEST_PROCESSES:-$(($(nproc) < 4 ? $(nproc) : 4))}
                OMP_NUM_THREADS=$((($(nproc) + processes - 1) / processes)) \
                    exec .venv/bin/python -m pytest -q -m "not slow" -n "$processes" --dist loadfile
                ;;
            --full) exec .venv/bin/python -m pytest -q ;; # one after another: some tests need most of the memory
            *) usage >&2 && die "test: expected nothing or --full, got '$2'" ;;
        esac
        ;;
    -h | --help) usage ;;
    *) usage >&2 && die "expected demo, test or nothing, got '$1'" ;;
esac
