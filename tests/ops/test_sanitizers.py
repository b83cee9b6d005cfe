"""The native code reads and writes only its own memory, and does nothing that C++ leaves undefined."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "sanitizers.sh"


def sanitized(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable}
    )


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "undefined"])
def test_operators_are_clean_under_the_sanitizer(sanitizer: str):
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler: a sanitizer needs a build of its own")
    result = sanitized(sanitizer)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]


def test_unknown_sanitizer_is_refused_before_anything_is_built():
    result = sanitized("thread")
    assert result.returncode == 2 and "expected address or undefined, got 'thread'" in result.stderr
