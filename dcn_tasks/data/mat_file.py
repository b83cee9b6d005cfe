"""One field of a struct in a MATLAB MAT-file of level 5 (MathWorks, "MAT-File Format"), as far as SBD needs it.

SciPy reads far more of the format, and some damaged files end its process.
"""

import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

HEADER_BYTES = 128  # the last two say the order of bytes: "IM" is little-endian
MATRIX, COMPRESSED = 14, 15  # miMATRIX, miCOMPRESSED
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # miINT8 ...
STRUCT = 2  # mxSTRUCT_CLASS
MAX_BYTES = 64 << 20  # of a file, and of all that is unpacked from it
MAX_ELEMENTS = 1000  # one after the other, where SBD has a handful


def read_field(path: Path, variable: str, field: str) -> np.ndarray:
    """The numbers of VARIABLE.FIELD, of a struct array its first element's, in MATLAB's shape.

    Raises: ValueError where the file is not of this kind, is damaged, or has no such field; OSError.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
    content = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[HEADER_BYTES - 2 : HEADER_BYTES]))
    if order is None:
        raise ValueError("no MAT-file of level 5")
    room = MAX_BYTES
    try:
        for kind, data in elements(content[HEADER_BYTES:], order):
            if kind == COMPRESSED:
                whole = unpacked(data, room)
                room -= len(whole)
                ((kind, data),) = elements(whole, order)
            if kind == MATRIX and name_of(data, order) == variable:
                return numbers(member(data, field, order), order)
    except (struct.error, zlib.error, KeyError, OverflowError) as error:
        raise ValueError(f"damaged, or of another kind: {error!r}") from error
    raise ValueError(f"no variable {variable}")


def elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, content) one after the other; those of up to four bytes stand in the tag itself."""
    at = count = 0
    while at < len(data):
        count += 1
        if count > MAX_ELEMENTS:
            raise ValueError(f"more than {MAX_ELEMENTS} elements one after the other")
        kind, size = struct.unpack_from(order + "II", data, at)
        start, end = at + 8, at + 8 + (size if kind == COMPRESSED else -(-size // 8) * 8)
        if kind >> 16:
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if start + size > min(end, len(data)):
            raise ValueError("ends in the middle of an element")
        yield kind, data[start : start + size]
        at = end


def unpacked(data: memoryview, room: int) -> memoryview:
    stream = zlib.decompressobj()
    content = stream.decompress(data, room + 1)
    if not stream.eof or len(content) > room:
        raise ValueError(f"damaged, or more than {MAX_BYTES >> 20} MiB")
    return memoryview(content)


def parts(matrix: memoryview, order: str) -> list[tuple[int, memoryview]]:
    """Flags, dimensions, name, and what its class has."""
    found = list(elements(matrix, order))
    if len(found) < 4:
        raise ValueError("a variable without content")
    return found


def name_of(matrix: memoryview, order: str) -> str:
    *_, (_, name) = islice(elements(matrix, order), 3)
    return bytes(name).decode("latin-1")


def member(matrix: memoryview, field: str, order: str) -> memoryview:
    """The matrix of a field of a struct's first element."""
    flags, _, _, width, names, *values = (data for _, data in parts(matrix, order))
    (length,) = struct.unpack(order + "i", width)
    if struct.unpack_from(order + "I", flags)[0] & 0xFF != STRUCT or not 0 < len(names) <= MAX_ELEMENTS * length:
        raise ValueError("no struct")
    known = [bytes(names[at : at + length]).split(b"\0")[0].decode("latin-1") for at in range(0, len(names), length)]
    return dict(zip(known, values, strict=False))[field]


def numbers(matrix: memoryview, order: str) -> np.ndarray:
    _, (_, dimensions), _, (kind, real), *_ = parts(matrix, order)
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    if min(shape) < 0:
        raise ValueError(f"of shape {shape}")
    return np.frombuffer(real, order + NUMBERS[kind]).reshape(shape, order="F")
