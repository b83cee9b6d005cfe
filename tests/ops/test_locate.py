"""Places and weights of the samples, found a register of positions at a time, against core's scalar functions."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from instruction_sets import available

PROGRAM = Path(__file__).with_name("locate_rule.cpp")
SOURCES = Path(__file__).parents[2] / "torch_port/csrc"
COMPILER = os.environ.get("CXX", "g++")
FLAGS = {
    "portable": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma"],
}
MISTAKES = {  # right, wrong
    "last_row_not_repeated": (
        "settled(low < size - 1);\n  const Real<T> fraction", "settled(low < size);\n  const Real<T> fraction"),
    "zeros_begin_at_0": ("position > T(-1)", "position > T(0)"),
    "row_end_forgotten": ("row += rows_on - ended", "row += rows_on"),
    "mask_beyond_the_map": ("inside ? load_some(masks + t, count - t) : one", "load_some(masks + t, count - t)"),
}  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C++ compiler {COMPILER}")


def run(folder: Path, sources: Path, isa: str, *flags: str) -> subprocess.CompletedProcess:
    target = folder / "locate_rule"
    command = [COMPILER, "-std=c++20", "-O1", "-ffp-contract=off", *FLAGS[isa], *flags, f"-DDCN_ISA={isa}"]
    subprocess.run([*command, f"-I{sources}", str(PROGRAM), "-o", str(target)], check=True)
    own = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # sanitizers.sh preloads another
    return subprocess.run([str(target)], capture_output=True, text=True, env=own)


@pytest.mark.parametrize("isa", [isa for isa in available() if isa != "plain"])
def test_places_weights_and_slopes_are_cores_bit_for_bit(isa, tmp_path):
    done = run(tmp_path, SOURCES, isa, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"\| holds$", done.stdout, re.MULTILINE)) == 4  # two borders, two types


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_seen(mistake, tmp_path):
    right, wrong = MISTAKES[mistake]
    sources = Path(shutil.copytree(SOURCES, tmp_path / "csrc"))
    path = sources / "cpu/simd/locate.h"
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    done = run(tmp_path, sources, "portable")
    assert done.returncode == 1
    assert "DOES NOT HOLD" in done.stdout
