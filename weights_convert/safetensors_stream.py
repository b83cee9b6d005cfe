"""Writing a `.safetensors` file tensor by tensor, straight from mapped memory.

    file := u64 length of the header | header, JSON padded with spaces to 8 bytes | values, one tensor after the other
    header := {"__metadata__": {text: text}, NAME: {"dtype": D, "shape": [...], "data_offsets": [begin, end]}, ...}

All little-endian; wide types first, so that every tensor is aligned. Source: the format's description in the
safetensors package (0.6), which itself wants every tensor as a copy in `bytes` before it writes the first one.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from weights_convert.arrays import as_bytes
from weights_convert.dtypes import BFLOAT16, BOOL

CHUNK = 1 << 20  # bytes compared at once, so that they stay in cache
NAME_OF_DTYPE = {np.dtype(f"<{kind}{size}"): f"{kind.upper()}{8 * size}" for kind in "iu" for size in (2, 4, 8)} | {
    np.dtype("<f8"): "F64",
    np.dtype("<f4"): "F32",
    np.dtype("<f2"): "F16",
    BFLOAT16: "BF16",
    np.dtype("i1"): "I8",
    np.dtype("u1"): "U8",
    BOOL: "BOOL",
}


def header_of(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """(the file's first bytes, up to the values; the names in the order of their values)."""
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        dtype = NAME_OF_DTYPE[arrays[name].dtype]
        entries[name] = {"dtype": dtype, "shape": list(arrays[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, order


def write_safetensors(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write `arrays` (little-endian, types of NAME_OF_DTYPE) to an open file; holds no copy of a contiguous one."""
    header, order = header_of(arrays, metadata)
    file.write(header)
    for name in order:
        file.write(as_bytes(arrays[name]).data)


def differing(written: memoryview, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Iterator[str]:
    """What of a file's bytes is not as `write_safetensors` writes it: "the header", names of tensors."""
    header, order = header_of(arrays, metadata)
    if bytes(written[: len(header)]) != header:
        yield "the header"
        return
    begin = len(header)
    for name in order:
        end = begin + arrays[name].nbytes
        if not equal_bytes(written[begin:end], as_bytes(arrays[name])):
            yield name
        begin = end
    if begin != len(written):
        yield "the file's length"


def equal_bytes(written: memoryview, expected: np.ndarray) -> bool:
    got = np.frombuffer(written, np.uint8)
    return got.size == expected.size and all(
        np.array_equal(got[at : at + CHUNK], expected[at : at + CHUNK]) for at in range(0, got.size, CHUNK)
    )
