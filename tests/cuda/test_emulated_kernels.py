"""The fused kernels' very bodies, run on the CPU, thread by thread, by tests/cuda/simt_emulator.h."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "torch_port/csrc"
COMPILER = os.environ.get("CXX", "g++")
pytestmark = pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C++ compiler {COMPILER}")

ROWS = {"emulate_forward": 54, "emulate_backward": 126, "emulate_psroi": 45}  # cases times kernels times results

MISTAKES = {  # program, header, right, wrong
    "no_barrier_before_the_product": (
        "emulate_forward", "forward.h", "    simt::barrier();  // this step's", "    // this step's"),
    "copies_not_waited_for": ("emulate_forward", "forward.h", "wait_async<1>", "wait_async<2>"),
    "fragment_of_the_wrong_rows": (
        "emulate_forward", "row_product.h", "matrix % 2 * 8 + line", "matrix / 2 * 8 + line"),
    "staged_over_tiles_in_use": (
        "emulate_backward", "samples_backward.h", "      simt::barrier();  // every copy", "      // every copy"),
    "records_overwritten_early": (
        "emulate_backward", "weight_backward.h", "shared.records[it % 2]", "shared.records[(it + 1) % 2]"),
    "a_merged_sample_loses_its_neighbour": (
        "emulate_psroi", "psroi_units.h", "if (low + 1 == n.entries) append", "if (n.entries == 1) append"),
    "fixed_point_overflows": ("emulate_backward", "fixed_point.h", "BITS = 61", "BITS = 80"),
}  # fmt: skip


def run(program: str, sources: Path, folder: Path, *flags: str) -> subprocess.CompletedProcess:
    target = folder / program
    subprocess.run(
        [COMPILER, "-std=c++20", "-O1", *flags, f"-I{sources}", str(HERE / f"{program}.cpp"), "-o", str(target)],
        check=True,
    )
    return subprocess.run([str(target)], capture_output=True, text=True)


@pytest.mark.parametrize("program", ROWS)
def test_every_block_of_every_case_agrees_and_stays_inside_its_arrays(program, tmp_path):
    done = run(program, SOURCES, tmp_path, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"\| holds$", done.stdout, re.MULTILINE)) == ROWS[program]


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_seen(mistake, tmp_path):
    program, header, right, wrong = MISTAKES[mistake]
    sources = Path(shutil.copytree(SOURCES, tmp_path / "csrc"))
    path = sources / "cuda/fused" / header
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    done = run(program, sources, tmp_path)
    assert done.returncode == 1
    assert "DOES NOT HOLD" in done.stdout
