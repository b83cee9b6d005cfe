"""The native code reads and writes only its own memory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "asan.sh"


@pytest.mark.slow
def test_operators_stay_inside_their_arrays_under_address_sanitizer():
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler: AddressSanitizer needs a build of its own")
    result = subprocess.run(
        ["bash", str(SCRIPT)], capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable}
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
