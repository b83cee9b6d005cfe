"""Reading an untrusted file: nothing is taken before it is known to be there, and every failure names its place."""

import mmap
import os
import stat
import struct
from pathlib import Path
from typing import NoReturn

import numpy as np

from dcn_tasks.errors import InputError
from weights_convert.dtypes import BOOL

AGAIN = "fetch the file again"


def map_file(path: str | os.PathLike) -> mmap.mmap:
    """The file as a read-only memory map. Raises InputError for what is absent, empty or no plain file."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no plain file"
        raise InputError(f"{path}: is {kind}; give the file itself")
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise InputError(f"{path}: is empty (0 bytes); {AGAIN}")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class ByteCursor:
    """Walks through a mapped file; every read is checked against what is left."""

    def __init__(self, path: str | os.PathLike, buffer: mmap.mmap | bytes) -> None:
        self.path, self.buffer, self.offset, self.size = path, buffer, 0, len(buffer)

    @property
    def remaining(self) -> int:
        return self.size - self.offset

    def fail(self, reason: str, remedy: str = AGAIN, at: int | None = None) -> NoReturn:
        raise InputError(f"{self.path}: at byte {self.offset if at is None else at}: {reason}; {remedy}")

    def need(self, nbytes: int, what: str) -> None:
        if nbytes > self.remaining:
            self.fail(f"{what} needs {nbytes} bytes, but the file ends after {self.remaining}: truncated or not whole")

    def take(self, nbytes: int, what: str) -> bytes:
        self.need(nbytes, what)
        start, self.offset = self.offset, self.offset + nbytes
        return self.buffer[start : self.offset]

    def numbers(self, layout: str, what: str) -> tuple:
        """Little-endian numbers in `struct`'s letters: "I" uint32, "i" int32, "Q" uint64, "q" int64."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout), what))

    def number(self, letter: str, what: str) -> int:
        return self.numbers(letter, what)[0]

    def array(self, dtype: np.dtype, shape: tuple[int, ...], what: str) -> np.ndarray:
        """A read-only array [*shape]: a view of the map (of an odd address perhaps, which NumPy allows)."""
        count = 1
        for extent in shape:  # Python integers: a claim of 2**80 elements can't wrap round
            count *= extent
        self.need(count * dtype.itemsize, f"{what} ({dtype.name} {list(shape)})")
        try:
            array = np.frombuffer(self.buffer, dtype, count, self.offset) if count else np.empty(0, dtype)
            array = array.reshape(shape)
        except ValueError as error:  # e.g. an empty array with an extent past NumPy's own limits
            self.fail(f"{what}: NumPy can't hold shape {list(shape)} ({error})")
        if array.dtype == BOOL and count and array.view(np.uint8).max() > 1:
            self.fail(f"{what}: a bool array holds a byte that is neither 0 nor 1")
        array.setflags(write=False)
        self.offset += count * dtype.itemsize
        return array
