"""Builds the native libraries of torch_port; everything else stands in pyproject.toml.

`torch_port/_dcn_cpu.so`: LibTorch stable ABI of 2.10, loaded with torch.ops.load_library. Sources in csrc/cpu/*.cpp are
compiled once for the portable baseline; those in csrc/cpu/simd/*.cpp once per instruction set, each time with
DCN_ISA naming the namespace, and the set is chosen at run time; those in csrc/cpu/amx/*.cpp once, for the matrix unit.
`torch_port/_dcn_cuda.so`: built by nvcc with DCN_CUDA=1, whether or not there is a GPU.

DCN_SANITIZE=address builds the CPU library with the compiler's sanitizers of that name; DCN_JOBS sets the number of compiler processes.
"""

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

SOURCES = Path("torch_port/csrc")
STABLE_ABI = "0x020a000000000000"  # oldest PyTorch that the CPU library runs on: 2.10
X86_64 = platform.machine() in ("x86_64", "AMD64")
ISA_FLAGS = {"portable": []}
if X86_64:
    ISA_FLAGS["avx2"] = ["-mavx2", "-mfma", "-mf16c"]
    ISA_FLAGS["avx512"] = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"]
AMX_FLAGS = [*ISA_FLAGS.get("avx512", []), "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]


def torch_include_and_library_paths() -> tuple[list[str], list[str]]:
    import torch

    root = Path(torch.__file__).parent
    return [str(root / "include"), str(root / "include/torch/csrc/api/include")], [str(root / "lib")]


class BuildPackages(build_py):
    """Ships the top-level data folders inside the packages that read them (an editable install finds them in place)."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder, package in (("configs", "dcn_tasks"), ("experiments", "dcn_suite")):
                shutil.copytree(folder, Path(self.build_lib) / package / folder, dirs_exist_ok=True)


class TagWheel(bdist_wheel):
    """py3-none: no Python ABI is used (PyTorch loads the library), so that one wheel serves every Python from 3.10 up."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class BuildNative(build_ext):
    """Compiles each (source, instruction set) to an object, in parallel, newer-than checked, then links."""

    def build_extension(self, ext: Extension) -> None:
        build = {"_dcn_cpu": self.build_cpu, "_dcn_cuda": self.build_cuda}[ext.name.rsplit(".", 1)[-1]]
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        build(target)

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"  # no Python ABI tag: these are not Python modules

    def build_cpu(self, target: Path) -> None:
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise SystemExit(
                f"torch_port: no C++ compiler `{compiler}`: install one (Debian: apt install g++) or set CXX"
            )
        include, library = torch_include_and_library_paths()
        sanitize = os.environ.get("DCN_SANITIZE")
        flags = ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter",
                 "-ffp-contract=off", f"-DTORCH_TARGET_VERSION={STABLE_ABI}", f"-I{SOURCES}",
                 *(f"-isystem{path}" for path in include),
                 *(f"-DDCN_HAVE_{isa.upper()}=1" for isa in ISA_FLAGS)]  # fmt: skip
        flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g1", "-O1"] if sanitize else []
        units = [(source, "portable", []) for source in sorted((SOURCES / "cpu").glob("*.cpp"))]
        if self.compiler_knows(compiler, AMX_FLAGS):
            flags += ["-DDCN_HAVE_AMX=1"]
            units += [
                (source, "amx", [*AMX_FLAGS, "-DDCN_ISA=amx"]) for source in sorted((SOURCES / "cpu/amx").glob("*.cpp"))
            ]
        units += [(source, isa, [*extra, f"-DDCN_ISA={isa}"])
                  for source in sorted((SOURCES / "cpu/simd").glob("*.cpp")) for isa, extra in ISA_FLAGS.items()]  # fmt: skip
        folder = Path(self.build_temp) / ("cpu-" + (sanitize or "release").replace(",", "-"))
        objects = self.compile_units([
            (source, folder / f"{source.parent.name}-{source.stem}.{isa}.o", [compiler, *flags, *extra, "-c", str(source)])
            for source, isa, extra in units
        ])  # fmt: skip
        self.call([compiler, "-shared", *(["-fsanitize=" + sanitize] if sanitize else []), *objects, "-o", str(target),
                  *(f"-L{path}" for path in library), "-ltorch", "-ltorch_cpu", "-lc10"])  # fmt: skip

    def compiler_knows(self, compiler: str, flags: list[str]) -> bool:
        """AMX asks for g++ 11 or clang 12; without it the library has everything else."""
        command = [compiler, *flags, "-x", "c++", "-fsyntax-only", "-"]
        program = b"#include <immintrin.h>\nvoid f() { _tile_dpbf16ps(0, 1, 2); }\n"
        return X86_64 and subprocess.run(command, input=program, capture_output=True).returncode == 0

    def build_cuda(self, target: Path) -> None:
        subprocess.run(["bash", "benchmarks/build_cuda.sh", str(target)], check=True)

    def compile_units(self, units: list[tuple[Path, Path, list[str]]]) -> list[str]:
        newest_header = max((p.stat().st_mtime for p in SOURCES.rglob("*.h")), default=0.0)

        def compile_one(unit: tuple[Path, Path, list[str]]) -> str:
            source, target, command = unit
            stamp = target.with_suffix(".flags")
            text = " ".join(command)
            fresh = (target.exists() and stamp.exists() and stamp.read_text() == text
                     and target.stat().st_mtime > max(newest_header, source.stat().st_mtime))  # fmt: skip
            if not fresh:
                target.parent.mkdir(parents=True, exist_ok=True)
                self.call([*command, "-o", str(target)])
                stamp.write_text(text)
            return str(target)

        with ThreadPoolExecutor(int(os.environ.get("DCN_JOBS", os.cpu_count() or 1))) as pool:
            return list(pool.map(compile_one, units))

    def call(self, command: list[str]) -> None:
        if self.verbose:
            print(" ".join(command))
        subprocess.run(command, check=True)


def wants_cuda() -> bool:
    choice = os.environ.get("DCN_CUDA", "auto")
    if choice not in ("0", "1", "auto"):
        raise SystemExit(f"DCN_CUDA: expected 0, 1 or auto, got {choice!r}")
    return choice == "1"


extensions = [Extension("torch_port._dcn_cpu", sources=[])]
if wants_cuda():
    extensions.append(Extension("torch_port._dcn_cuda", sources=[]))
setup(ext_modules=extensions, cmdclass={"build_ext": BuildNative, "build_py": BuildPackages, "bdist_wheel": TagWheel})
