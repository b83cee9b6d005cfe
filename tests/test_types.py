"""The public packages that mypy has no complaint about keep it so."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
CLEAN = ("dcn_tasks", "torch_port")


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed: pip install -r requirements/dev.txt")
def test_annotations_hold():
    packages = [word for name in CLEAN for word in ("--package", name)]
    found = subprocess.run([sys.executable, "-m", "mypy", *packages], cwd=REPOSITORY, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
