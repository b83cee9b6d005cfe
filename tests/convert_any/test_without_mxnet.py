"""`dcn convert --verify` where MXNet is not installed: a recording of MXNet's outputs, or no proof."""

import json
import sys

import numpy as np
import pytest

from dcn_suite.cli.main import main

NAME = "mtcnn_det1"


@pytest.fixture
def convert(checkpoints_folder, tmp_path, monkeypatch):
    """Runs the command on a real checkpoint. Returns: exit code and parity.json."""
    monkeypatch.setitem(sys.modules, "mxnet", None)
    folder = checkpoints_folder / NAME

    def run(*options: str) -> tuple[int, dict]:
        code = main(["convert", str(next(folder.glob("*-0*.params"))), "--symbol", str(next(folder.glob("*-symbol.json"))),
                     "-o", str(tmp_path / "out"), "--verify", *options])  # fmt: skip
        return code, json.loads((tmp_path / "out" / "parity.json").read_text())

    run.recording = folder / "io.npz"
    return run


def test_recorded_outputs_are_the_proof(convert):
    code, parity = convert("--recording", str(convert.recording))
    assert (code, parity["verdict"], parity["against"]) == (0, "holds", "recorded outputs of MXNet")
    assert len(parity["rows"]) == 2


def test_recording_that_differs_in_one_number_does_not_hold(convert, tmp_path):
    arrays = dict(np.load(convert.recording))
    output = sorted(name for name in arrays if name.startswith("out"))[0]
    arrays[output].flat[7] += np.float32(1e-4) * np.abs(arrays[output]).max()
    np.savez(tmp_path / "changed.npz", **arrays)
    code, parity = convert("--recording", str(tmp_path / "changed.npz"))
    assert (code, parity["verdict"]) == (1, "does not hold") and "output 0" in parity["why"]


def test_without_recording_nothing_is_claimed(convert):
    _, parity = convert("--input", "data=1,3,24,24")
    assert parity["verdict"] == "not verified" and "MXNet is not installed" in parity["why"]
