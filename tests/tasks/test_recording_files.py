"""Recordings: what goes in comes out, and nothing that was changed does."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcn_tasks.errors import InputError
from dcn_tasks.recording import Recording, RecordingWriter

ARRAYS = {
    "res5a_branch2b/output": np.arange(12, dtype=np.float32).reshape(3, 4),
    "labels ": np.array([1, -1], np.int64),
    "scalar": np.float64(2.5),
    "empty": np.zeros((0, 5), np.float16),
    "mask": np.array([True, False]),
}


def record(folder: Path) -> Path:
    writer = RecordingWriter(folder, "MXNet 1.9.1", {"seed": 3, "config": {"symbol": "x"}})
    writer.part("forward", ARRAYS)
    writer.part("backward", {"gradient": np.ones(1000)}, compress=True)
    writer.finish()
    return folder


def test_arrays_come_back_bit_for_bit_with_who_recorded_them(tmp_path: Path) -> None:
    found = Recording(record(tmp_path / "r"))
    assert found.recorded_by == "MXNet 1.9.1"
    assert found.about["seed"] == 3 and found.about["numpy"] == np.__version__
    assert set(found) == {*ARRAYS, "gradient"} and "gradient" in found and "nothing" not in found
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    assert set(found.part("forward")) == set(ARRAYS)


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "forward.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "forward.npz").write_bytes(data)


def truncate(folder: Path) -> None:
    data = (folder / "forward.npz").read_bytes()
    (folder / "forward.npz").write_bytes(data[: len(data) // 2])


def remove(folder: Path) -> None:
    (folder / "forward.npz").unlink()


def swap_parts(folder: Path) -> None:
    (folder / "forward.npz").write_bytes((folder / "backward.npz").read_bytes())


def edit_manifest(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return edit


@pytest.mark.parametrize(
    "tamper",
    [
        flip_a_byte,
        truncate,
        remove,
        swap_parts,
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        edit_manifest(lambda m: m.pop("recorded_by")),
        edit_manifest(lambda m: m.update(format=2)),
        edit_manifest(lambda m: m["files"]["forward.npz"].update(sha256="0" * 64)),
        edit_manifest(lambda m: m["files"].update({"../forward.npz": m["files"].pop("forward.npz")})),
    ],
)
def test_changed_recording_is_refused(tmp_path: Path, tamper: Callable[[Path], object]) -> None:
    folder = record(tmp_path / "r")
    tamper(folder)
    with pytest.raises(InputError):
        Recording(folder)["scalar"]


def test_name_that_was_not_recorded_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Recording(record(tmp_path / "r"))["nothing"]


def test_unfinished_recording_is_none(tmp_path: Path) -> None:
    record(tmp_path)
    RecordingWriter(tmp_path, "MXNet 1.9.1", {}).part("forward", ARRAYS)
    with pytest.raises(InputError, match="expected a recording"):
        Recording(tmp_path)


def test_objects_are_never_written(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, "MXNet 1.9.1", {})
    with pytest.raises(TypeError, match="things: expected numbers"):
        writer.part("forward", {"things": np.array([{}, []], dtype=object)})
    assert not list(tmp_path.glob("*.npz"))
