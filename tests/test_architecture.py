"""The arrows of the design, read off the imports; and what no file of the project may hold."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
# package -> packages of this project that it may import
ARROWS = {
    "dcn_tasks": set(),
    "torch_port": {"dcn_tasks"},
    "mxnet_ref": {"dcn_tasks"},
    "weights_convert": {"dcn_tasks", "torch_port"},
    "dcn_suite": {"dcn_tasks", "torch_port", "mxnet_ref", "weights_convert"},
}
SOURCES = sorted(path for package in ARROWS for path in (REPOSITORY / package).rglob("*.py"))


def imported_packages(source: str) -> set[str]:
    """Top-level names that a file imports, at any depth of the file."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def committed_text_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout: the list of committed files is not to be had")
    files = [REPOSITORY / name for name in listing.stdout.split("\0") if name]
    return [path for path in files if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def test_imports_are_read_at_any_depth():
    assert imported_packages("def f():\n    import mxnet as mx\n    from dcn_suite.cli import main") == {
        "mxnet",
        "dcn_suite",
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_follow_the_arrows(path):
    package = path.relative_to(REPOSITORY).parts[0]
    names = imported_packages(path.read_text())
    forbidden = (names & ARROWS.keys()) - ARROWS[package] - {package}
    assert not forbidden, f"{package} may import {sorted(ARROWS[package])}, not {sorted(forbidden)}"
    if package != "mxnet_ref":
        assert not names & {"mxnet", "gluoncv"}, "mxnet is imported only under mxnet_ref/"
    if package == "dcn_tasks":
        assert "torch" not in names, "dcn_tasks serves both frameworks and imports neither"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_unpickles_or_evaluates(path):
    names = imported_packages(path.read_text())
    assert not names & {"pickle", "cPickle", "dill", "shelve", "marshal"}
    calls = {node.func.id for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert not calls & {"eval", "exec"}


def test_no_committed_file_carries_a_path_of_one_machine():
    pattern = re.compile(r"(?<![\w.])/(?:work|root|home|opt)/\w|/tmp/\w")
    allowed = {"tests/test_architecture.py"}
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:100]}"
        for path in committed_text_files()
        if str(path.relative_to(REPOSITORY)) not in allowed
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_source_file_is_longer_than_400_lines():
    suffixes = {".py", ".h", ".cpp", ".cu", ".cuh", ".sh"}
    long = {
        str(path.relative_to(REPOSITORY)): count
        for path in committed_text_files()
        if path.suffix in suffixes and (count := len(path.read_text().splitlines())) > 400
    }
    assert not long


ONE_SIDED = {"__init__", "stages"}  # stages: modules that hold the units of a stage, MXNet's graphs have none


@pytest.mark.parametrize("part", ["backbone", "neck", "heads"])
def test_every_concept_has_its_twin(part):
    ours, theirs = (
        {path.stem for path in (REPOSITORY / package / part).glob("*.py")}
        for package in ("torch_port/models", "mxnet_ref")
    )
    assert ours - ONE_SIDED <= theirs and ours - ONE_SIDED


def test_masks_have_the_same_stems_beside_layers_and_graphs():
    for stem, part in (("modulation", "backbone"), ("modulated_roi_pooling", "heads")):
        assert (REPOSITORY / "torch_port" / "layers" / f"{stem}.py").is_file()
        assert (REPOSITORY / "mxnet_ref" / part / f"{stem}.py").is_file()
