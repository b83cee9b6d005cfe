"""Recordings: what goes in comes out, and nothing that was changed does."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcn_tasks.errors import InputError
from dcn_tasks.recording import FREE_EXPANSION_BYTES, Recording, RecordingWriter, sha256

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
        lambda folder: (folder / "manifest.json").write_text("[" * 100_000),
        edit_manifest(lambda m: m.update(about=["seed"])),
        edit_manifest(lambda m: m.update(recorded_by=3)),
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


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(member: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a0.npy", member)
    return file.getvalue()


def damaged(data: bytes) -> bytes:
    """The packed numbers of the first member overwritten; its checksum and places stay."""
    start = 30 + sum(struct.unpack_from("<HH", data, 26))
    return data[:start] + b"\xff" * 8 + data[start + 8 :]


def with_flags(data: bytes, flags: int) -> bytes:
    local, central = data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8
    for place in (local, central):
        data = data[:place] + struct.pack("<H", flags) + data[place + 2 :]
    return data


NUMBERS = npy(np.random.default_rng(0).random(100))
CLAIM = npy(np.zeros(4)).replace(b"(4,), }            ", b"(%d,), }" % 2**40)
PARTS = {
    "zeros beyond reason": (npz(npy(np.zeros(FREE_EXPANSION_BYTES // 4))), "refused as a ZIP bomb"),
    "zeros packed by bz2": (npz(npy(np.zeros(1 << 20)), zipfile.ZIP_BZIP2), "packed by method 12"),
    "zeros packed by lzma": (npz(npy(np.zeros(1 << 20)), zipfile.ZIP_LZMA), "packed by method 14"),
    "damaged": (damaged(npz(NUMBERS)), "not as its manifest says"),
    "cut within": (npz(NUMBERS)[:99] + npz(NUMBERS)[-200:], "not as its manifest says"),
    "encrypted": (with_flags(npz(NUMBERS), 1), "not as its manifest says"),
    "compressed patched data": (with_flags(npz(NUMBERS), 0x20), "not as its manifest says"),
    "a claim of 2**40 numbers": (npz(CLAIM), "claims 8796093022208 bytes"),
    "numbers missing": (npz(NUMBERS[:-8]), "claims 800 bytes of numbers, has 792"),
    "texts": (npz(npy(np.array(["a"]))), "no array of plain numbers"),
    "an expression": (npz(b"\x93NUMPY\x01\x00\xe8\x03" + b"-" * 1000), "no array of plain numbers"),
    "a type that is none": (npz(npy(np.zeros(4)).replace(b"<f8", b"<f7")), "not as its manifest says"),
    "no archive": (NUMBERS, "not as its manifest says"),
    "empty": (b"", "not as its manifest says"),
}


@pytest.mark.parametrize(("data", "message"), PARTS.values(), ids=PARTS.keys())
def test_a_part_that_is_not_what_numpy_writes_is_refused_by_name(tmp_path: Path, data: bytes, message: str) -> None:
    """Its own sha256 stands in the manifest: whoever made the part made that too."""
    folder = record(tmp_path / "r")
    (folder / "forward.npz").write_bytes(data)
    entry = {"sha256": sha256(folder / "forward.npz"), "arrays": {"scalar": "a0"}}
    edit_manifest(lambda m: m["files"].update({"forward.npz": entry}))(folder)
    with pytest.raises(InputError, match=rf"forward\.npz: .*{message}"):
        Recording(folder)["scalar"]


def test_parts_that_are_small_one_by_one_have_one_limit_together(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, "MXNet 1.9.1", {})
    for index in range(3):
        writer.part(f"{index}", {f"{index}": np.zeros(FREE_EXPANSION_BYTES // 2, np.uint8)}, compress=True)
    writer.finish()
    found = Recording(tmp_path)
    assert not found["0"].any() and found["0"].flags.writeable
    with pytest.raises(InputError, match=r"expected arrays of at most 64 times .* refused as a ZIP bomb"):
        [found[name] for name in ("0", "1", "2") * 10]


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
