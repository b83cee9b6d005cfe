"""Arrays on disk for as long as a comparison lasts: one file each, no digests, gone with their folder.

A full network's activations in two precisions are 15 GB: more than memory should hold, and not worth checksums.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dcn_suite.parity import uncached


class Scratch:
    """Arrays by name. folder: made if absent."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files: dict[str, str] = {}
        self.kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        self.files.setdefault(name, f"{len(self.files):05d}")
        self.kinds[name] = (array.dtype, array.shape)
        uncached.write(self.folder / self.files[name], array)

    def __getitem__(self, name: str) -> np.ndarray:
        return uncached.read(self.folder / self.files[name], *self.kinds[name])

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def group(self, prefix: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Every array as `prefix`/NAME."""
        for name, array in arrays.items():
            self[f"{prefix}/{name}"] = array

    def holds(self, name: str, array: np.ndarray) -> bool:
        """Whether that name has this very array, bit for bit."""
        if self.kinds.get(name) != (array.dtype, array.shape):
            return False
        bits = f"u{array.dtype.itemsize}"
        return np.array_equal(self[name].reshape(-1).view(bits), np.ascontiguousarray(array).reshape(-1).view(bits))

    def clear(self) -> None:
        for file in self.files.values():
            (self.folder / file).unlink(missing_ok=True)
        self.files.clear()
        self.kinds.clear()


class LiveRecording(Scratch):
    """What MXNet computes here and now, as dcn_tasks.recording.Recording gives it from disk.

    An array of the test graph that the training graph gave bit for bit is left out: reference.py looks there.

    Args: recorded_by, about: as a Recording's.
    """

    def __init__(self, folder: Path, recorded_by: str, about: Mapping[str, Any]):
        super().__init__(folder)
        self.recorded_by = recorded_by
        self.about: dict[str, Any] = json.loads(json.dumps(about))  # as it is read from disk: lists, no tuples

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        kind, _, rest = name.partition("/")
        if not (kind == "test" and self.holds(f"train/{rest}", array)):
            super().__setitem__(name, array)
