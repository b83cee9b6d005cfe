"""`dcn convert --verify` where MXNet is not installed: a recording of MXNet's outputs, or no proof."""

import json
import sys

import numpy as np
import pytest

from dcn_suite.cli.convert_graph import input_arrays
from dcn_suite.cli.main import main
from dcn_tasks.errors import InputError

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


def test_recorded_outputs_come_in_the_order_of_their_numbers(tmp_path):
    file = tmp_path / "io.npz"
    outputs = {f"out{n}{name}": np.full(1, n, np.float32) for n, name in ((10, ""), (2, ":fc_output"), (0, ""))}
    np.savez(file, **{"in:data": np.ones(2, np.float32)}, **outputs)
    inputs, outputs = input_arrays([], file)
    assert list(inputs) == ["data"] and [float(each[0]) for each in outputs] == [0, 2, 10]


@pytest.mark.parametrize("damage", ["cut", "foreign", "bomb", "pickled", "empty"])
def test_recording_that_cannot_be_read_is_refused_in_a_sentence(tmp_path, damage):
    file = tmp_path / "io.npz"
    numbers = np.zeros(1 << 23) if damage == "bomb" else np.arange(9.0)
    arrays = {"in:data": np.array([{}], dtype=object) if damage == "pickled" else numbers, "out0": numbers}
    np.savez_compressed(file, **({"other": numbers} if damage == "empty" else arrays))
    if damage in ("cut", "foreign"):
        file.write_bytes(file.read_bytes()[:-40] if damage == "cut" else b"no archive at all" * 9)
    with pytest.raises(InputError, match=r"io\.npz"):
        input_arrays([], file)
