"""Numbers to and from a file past the operating system's page cache.

A comparison writes each of its gigabytes once and reads it a few times at most. In the page cache they would drive out what is
needed, and on a virtual machine every page for them may have to be fetched from the host first.
"""

import os
from pathlib import Path

import numpy as np

BLOCK = 4096  # direct input and output want addresses, lengths and places in the file to be multiples of this
PIECE = 8 << 20  # bytes written at once


def aligned(count: int) -> np.ndarray:
    """At least `count` uninitialised bytes, whole blocks, at an address that is one's start."""
    padded = -(-count // BLOCK) * BLOCK
    room = np.empty(padded + BLOCK, np.uint8)
    start = -room.ctypes.data % BLOCK
    return room[start : start + padded]


def opened(path: Path, flags: int) -> int:
    """A file descriptor, past the page cache where the system and the file system have that."""
    direct = getattr(os, "O_DIRECT", 0)
    try:
        return os.open(path, flags | direct, 0o600)
    except OSError:
        if not direct:
            raise
        return os.open(path, flags, 0o600)  # a file system in memory, say


def write(path: Path, array: np.ndarray) -> None:
    """The array's bytes, in C order, as a file of their length. Raises: OSError."""
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    room = aligned(min(PIECE, content.size))
    file = opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for first in range(0, content.size, PIECE):
            piece = content[first : first + PIECE]
            room[: piece.size] = piece
            put(file, room[: -(-piece.size // BLOCK) * BLOCK])
        os.ftruncate(file, content.size)
    finally:
        os.close(file)


def put(file: int, content: np.ndarray) -> None:
    """All of it: a system may write less than it is asked to."""
    done = 0
    while done < content.size:
        done += os.write(file, content[done:].data)


def read(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """What `write` wrote. Raises: OSError, also for a file of another length."""
    count = dtype.itemsize * int(np.prod(shape))
    room = aligned(count)
    file = opened(path, os.O_RDONLY)
    done = 0
    try:
        while done < count and (got := os.readv(file, [room[done:].data])):
            done += got
    finally:
        os.close(file)
    if done != count:
        raise OSError(f"{path}: expected {count} bytes, got {done}")
    return room[:count].view(dtype).reshape(shape)
