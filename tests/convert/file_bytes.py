"""Parameter files laid down byte by byte from the format's description, without the reader or writer under test."""

import struct

import numpy as np

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
FLAGS = {
    "float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6, "bool": 7,
    "int16": 8, "uint16": 9, "uint32": 10, "uint64": 11, "bfloat16": 12,
}  # fmt: skip
CPU, GPU3 = (1, 0), (2, 3)


def shape64(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<i{len(shape)}q", len(shape), *shape)


def v0(array: np.ndarray, device: tuple[int, int] = CPU) -> bytes:
    return struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape) + tail(array, device)


def v1(array: np.ndarray, device: tuple[int, int] = CPU) -> bytes:
    return struct.pack("<I", V1) + shape64(array.shape) + tail(array, device)


def v2(array: np.ndarray, device: tuple[int, int] = CPU, magic: int = V2) -> bytes:
    return struct.pack("<Ii", magic, 0) + shape64(array.shape) + tail(array, device)


def v3(array: np.ndarray, device: tuple[int, int] = CPU) -> bytes:
    return v2(array, device, V3)


def tail(array: np.ndarray, device: tuple[int, int]) -> bytes:
    return struct.pack("<iii", *device, FLAGS[array.dtype.name]) + array.tobytes()


def row_sparse(
    data: np.ndarray, indices: np.ndarray, shape: tuple[int, ...], stored: tuple[int, ...] = (0, 2)
) -> bytes:
    return (
        struct.pack("<Ii", V2, 1) + shape64(stored) + shape64(shape) + struct.pack("<iii", *CPU, FLAGS[data.dtype.name])
        + struct.pack("<i", FLAGS[indices.dtype.name]) + shape64(indices.shape) + data.tobytes() + indices.tobytes()
    )  # fmt: skip


def csr(data: np.ndarray, indptr: np.ndarray, indices: np.ndarray, shape: tuple[int, int]) -> bytes:
    index = b"".join(struct.pack("<i", FLAGS[part.dtype.name]) + shape64(part.shape) for part in (indptr, indices))
    return (
        struct.pack("<Ii", V2, 2) + shape64(data.shape) + shape64(shape)
        + struct.pack("<iii", *CPU, FLAGS[data.dtype.name]) + index
        + data.tobytes() + indptr.tobytes() + indices.tobytes()
    )  # fmt: skip


def nd_list(records: list[bytes], names: list[str] | None = None) -> bytes:
    body = struct.pack("<QQQ", 0x112, 0, len(records)) + b"".join(records)
    encoded = [name.encode() for name in names or []]
    return body + struct.pack("<Q", len(encoded)) + b"".join(struct.pack("<Q", len(n)) + n for n in encoded)
