"""What ptxas says of each kernel, without a GPU: python benchmarks/gpu_ptxas.py REPORT.txt (of build_cuda.sh --ptxas).

One row a kernel, one column an architecture: registers, and in brackets bytes spilled where there are any; for the fused
kernels also the shared memory of a block, which benchmarks/gpu_shared_memory.cpp prints.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
KERNEL = re.compile(
    r"Compiling entry function '\S+' for '(sm_\w+)'\n.*Function properties for (\S+)\n"
    r"\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n.*Used (\d+) registers"
)


@dataclass(frozen=True)
class Kernel:
    name: str
    architecture: str
    registers: int
    stack_bytes: int
    spilled_bytes: int


def kernels(report: str) -> list[Kernel]:
    """Every kernel of a report, once for each architecture; names without namespaces and arguments."""
    found = KERNEL.findall(report)
    mangled = "\n".join(k[1] for k in found)
    names = subprocess.run(["c++filt"], input=mangled, capture_output=True, text=True, check=True).stdout.splitlines()
    short = [re.sub(r"dcn::(cuda::)?|fused::|\(anonymous namespace\)::|void ", "", n).split("(")[0] for n in names]
    return [
        Kernel(name, arch, int(registers), int(stack), int(stored) + int(loaded))
        for name, (arch, _, stack, stored, loaded, registers) in zip(short, found, strict=True)
    ]


def shared_memory() -> dict[str, int]:
    """Bytes a block, by what is left of a fused kernel's name without its type and brackets."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/sizes"
        source = str(REPOSITORY / "benchmarks/gpu_shared_memory.cpp")
        subprocess.run(
            ["g++", "-std=c++20", "-O1", f"-I{REPOSITORY}/torch_port/csrc", source, "-o", program], check=True
        )
        lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in lines}


def shared_of(name: str, sizes: dict[str, int]) -> str:
    match = re.fullmatch(r"(fused_\w+)<(\w+)(?:<\w+>)?, ([\d, ]+)>", name)
    if match is None:
        return ""
    kernel, precision, tile = match.groups()
    size = sizes.get(f"{kernel} {tile}", sizes.get(f"{kernel} {precision} {tile}"))
    return "" if size is None else str(size)


def main() -> None:
    found = kernels(Path(sys.argv[1]).read_text())
    architectures, sizes = sorted({k.architecture for k in found}), shared_memory()
    cells = {
        (k.name, k.architecture): f"{k.registers}" + f" ({k.spilled_bytes})" * (k.spilled_bytes > 0) for k in found
    }
    print(f"| kernel | {' | '.join(architectures)} | shared memory, bytes |")
    print("|---|" + "---|" * (len(architectures) + 1))
    for name in sorted({k.name for k in found}):
        columns = " | ".join(cells.get((name, architecture), "") for architecture in architectures)
        print(f"| `{name}` | {columns} | {shared_of(name, sizes)} |")


if __name__ == "__main__":
    main()
