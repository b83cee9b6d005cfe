"""What ptxas says of each kernel: python benchmarks/gpu_ptxas.py REPORT.txt (written by build_cuda.sh --ptxas)."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

KERNEL = re.compile(
    r"Function properties for (\S+)\n\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
    r".*Used (\d+) registers"
)


@dataclass(frozen=True)
class Kernel:
    name: str
    registers: int
    stack_bytes: int
    spilled_bytes: int


def kernels(report: str) -> list[Kernel]:
    """Every kernel of a report, names without namespaces and arguments."""
    found = KERNEL.findall(report)
    names = subprocess.run(
        ["c++filt"], input="\n".join(k[0] for k in found), capture_output=True, text=True, check=True
    )
    short = [re.sub(r"dcn::(cuda::)?|fused::|\(anonymous namespace\)::|void ", "", n).split("(")[0]
             for n in names.stdout.splitlines()]  # fmt: skip
    return [Kernel(name, int(k[4]), int(k[1]), int(k[2]) + int(k[3])) for name, k in zip(short, found, strict=True)]


def main() -> None:
    print("| kernel | registers | stack bytes | spilled bytes |\n|---|---|---|---|")
    for k in sorted(kernels(Path(sys.argv[1]).read_text()), key=lambda k: k.name):
        print(f"| `{k.name}` | {k.registers} | {k.stack_bytes} | {k.spilled_bytes} |")


if __name__ == "__main__":
    main()
