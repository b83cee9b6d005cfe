"""A folder of named arrays with a manifest: who recorded them, from what, and the sha256 of every file.

    manifest.json           {"format": 1, "recorded_by": ..., "about": {...}, "files": {"part.npz": {"sha256": ..., "arrays": {...}}}}
    part.npz                arrays, by name; any number of parts

Arrays are plain numbers (no objects, no pickle). Every file is written whole or not at all; the manifest last.
A digest says that a file is the recorded one, not that its author meant well: sizes are checked before memory is taken.
"""

import hashlib
import json
import math
import os
import platform
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path

MANIFEST = "manifest.json"
FORMAT = 1
# Of a whole recording: activations and gradients unpack to a few times their size, maps of zeros to a thousand times.
MAX_EXPANSION, FREE_EXPANSION_BYTES = 64, 1 << 26
NPY_MAGIC = b"\x93NUMPY\x01\x00"
NPY_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|=][fiub]\d{1,2})', 'fortran_order': False, 'shape': \((?P<shape>[\d, ]*)\), \} *\n"
)


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


class RecordingWriter:
    """Writes a recording part by part; `finish` writes the manifest, without which the folder is no recording.

    Args:
        folder: made if absent; an old manifest there is removed first.
        recorded_by: e.g. "MXNet 1.9.1"; never call anything else that.
        about: JSON-able facts: versions, config, seed, image size.
    """

    def __init__(self, folder: str | os.PathLike, recorded_by: str, about: Mapping[str, Any]):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MANIFEST).unlink(missing_ok=True)
        machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
        self.manifest: dict[str, Any] = {
            "format": FORMAT,
            "recorded_by": recorded_by,
            "about": {**machine, **about},
            "files": {},
        }

    def part(self, name: str, arrays: Mapping[str, np.ndarray], *, compress: bool = False) -> None:
        """Write arrays as `name`.npz. Names of arrays may hold any character but a NUL."""
        path = self.folder / f"{name}.npz"
        numbered = {f"a{index}": np.asarray(array, order="C") for index, array in enumerate(arrays.values())}
        for array_name, array in arrays.items():
            if np.asarray(array).dtype.kind not in "fiub":
                raise TypeError(f"recording {name}: {array_name}: expected numbers, got {np.asarray(array).dtype}")
        with atomic_path(path) as temporary:
            save = np.savez_compressed if compress else np.savez
            save(temporary, **numbered)  # type: ignore[arg-type]  # NumPy 2's annotations take any name for allow_pickle
        self.manifest["files"][path.name] = {
            "sha256": sha256(path),
            "arrays": dict(zip(arrays, numbered, strict=True)),
        }

    def finish(self) -> None:
        with atomic_path(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(self.manifest, indent=1))


class Recording:
    """Reads a recording, checking each file's sha256 before its first use.

    Raises: InputError for a folder without manifest, a file that is missing, changed or not as the manifest says, and for
        arrays that together are more than MAX_EXPANSION times as large as the files.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        try:
            self.manifest = json.loads((self.folder / MANIFEST).read_text())
            self.recorded_by: str = self.manifest["recorded_by"]
            self.about: dict[str, Any] = self.manifest["about"]
            files = self.manifest["files"]
            self.place = {name: (file, key) for file, entry in files.items() for name, key in entry["arrays"].items()}
            if not (isinstance(self.recorded_by, str) and isinstance(self.about, dict)):
                raise TypeError("recorded_by is no text, or about no dictionary")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{folder}: expected a recording ({MANIFEST} and .npz files): {error!r}") from error
        if self.manifest.get("format") != FORMAT:
            raise InputError(f"{folder}: expected recording format {FORMAT}, got {self.manifest.get('format')!r}")
        if bad := [file for file in files if Path(file).name != file]:
            raise InputError(f"{folder}: the manifest names files outside the folder: {bad}")
        self.checked: set[str] = set()
        self.checking = Lock()
        self.unpacked_bytes = 0  # of the arrays of the checked files

    def __contains__(self, name: str) -> bool:
        return name in self.place

    def __iter__(self) -> Iterator[str]:
        return iter(self.place)

    def __getitem__(self, name: str) -> np.ndarray:
        """One array, read from disk. Raises: KeyError for a name that was not recorded."""
        file, key = self.place[name]
        path = self.folder / file
        try:
            with self.checking:  # several threads may read
                if file not in self.checked:
                    self.check(file)
            with zipfile.ZipFile(path) as archive:
                return read_member(archive, key)
        except InputError:
            raise
        except Exception as error:  # readers of damaged archives raise anything
            raise InputError(f"{path}: not as its manifest says, record it again: {error!r}") from error

    def check(self, file: str) -> None:
        """Raises: InputError for a file that is another one than was recorded, or that unpacks beyond reason."""
        path, entry = self.folder / file, self.manifest["files"][file]
        if not path.is_file():
            raise InputError(f"{path}: expected a part of the recording, there is no such file: record it again")
        if (found := sha256(path)) != entry["sha256"]:
            raise InputError(f"{path}: changed since it was recorded (sha256 {found[:12]}...): record it again")
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(archive.getinfo(f"{key}.npy").file_size for key in entry["arrays"].values())
        packed = sum((self.folder / each).stat().st_size for each in self.manifest["files"])
        if self.unpacked_bytes + unpacked > MAX_EXPANSION * packed + FREE_EXPANSION_BYTES:
            raise InputError(
                f"{path}: expected arrays of at most {MAX_EXPANSION} times the recording's {packed} bytes, got "
                f"{self.unpacked_bytes + unpacked}: refused as a ZIP bomb"
            )
        self.unpacked_bytes += unpacked
        self.checked.add(file)

    def part(self, name: str) -> dict[str, np.ndarray]:
        """All arrays of one part."""
        return {array: self[array] for array, (file, _) in self.place.items() if file == f"{name}.npz"}


def read_member(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """The array of `key`.npy, as numpy.savez writes plain numbers.

    Raises: ValueError for anything else, before memory is taken for it; whatever zipfile does for a damaged member.
    """
    member = archive.getinfo(f"{key}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a limit
        raise ValueError(f"{member.filename} is packed by method {member.compress_type}, numpy.savez does not")
    with archive.open(member) as file:
        start = file.read(len(NPY_MAGIC) + 2)
        header = NPY_HEADER.fullmatch(file.read(int.from_bytes(start[-2:], "little")))
        if not start.startswith(NPY_MAGIC) or header is None:
            raise ValueError(f"{member.filename} is no array of plain numbers")
        count = math.prod(int(side) for side in header["shape"].replace(b",", b" ").split())
        wanted, there = count * np.dtype(header["dtype"].decode()).itemsize, member.file_size - file.tell()
        if wanted != there:
            raise ValueError(f"{member.filename} claims {wanted} bytes of numbers, has {there}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
