"""The code of docs/operators_in_pytorch.md runs as it stands."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operators_in_pytorch.md"
BLOCK = re.compile(r"^```python(?P<needs> \w+)?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)

# torch loads its forward-mode decompositions through torch.jit.script on first use, and warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def blocks(needs: str | None) -> list[str]:
    found = [match for match in BLOCK.finditer(PAGE.read_text()) if (match["needs"] or "").strip() == (needs or "")]
    return [match["code"] for match in found]


def run(codes: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    torch.manual_seed(0)
    torch._dynamo.reset()
    names: dict = {}
    for code in codes:
        exec(compile(code, PAGE.name, "exec"), names)


def test_every_block_of_the_page_runs_in_order(tmp_path, monkeypatch):
    assert len(blocks(None)) >= 7
    run(blocks(None), tmp_path, monkeypatch)


def test_the_onnx_block_writes_its_file(tmp_path, monkeypatch):
    if importlib.util.find_spec("onnxscript") is None:
        pytest.skip("onnx and onnxscript are not installed (requirements/dev.txt)")
    run(blocks(None)[:2] + blocks("onnx"), tmp_path, monkeypatch)
    assert (tmp_path / "network.onnx").stat().st_size > 0
