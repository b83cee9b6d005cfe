"""MXNet's NDArray list, the binary inside `.params` and `.nd` files, all four record versions since 2015.

    file    := u64 0x112 | u64 0 | u64 n | n records | u64 m | m names (u64 length, bytes); m is 0 or n
    V2, V3  := u32 magic | i32 storage | [storage shape, if sparse] | shape | i32 device, i32 number | i32 type flag
               | [per index array: i32 type flag, shape] | values | [index arrays]
    V1      := u32 magic | shape | device | type flag | values
    V0      := u32 ndim (no magic) | u32 extents | device | type flag | values
    shape   := i32 ndim | i64 extents                                        all integers little-endian

V0 to V2: a record without extents ends after its shape (an empty NDArray). V3: no extents mean a scalar, -1 unknown.
Source: MXNet 1.9.1 src/ndarray/ndarray.cc; the device is ignored (files saved on a GPU load anywhere).
"""

import numpy as np

from weights_convert.arrays import Array, Sparse
from weights_convert.byte_cursor import ByteCursor
from weights_convert.dtypes import DTYPE_OF_FLAG

LIST_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DENSE, ROW_SPARSE, CSR = 0, 1, 2
INDEX_ARRAYS = {DENSE: 0, ROW_SPARSE: 1, CSR: 2}
MAX_DIMENSIONS = 32  # NumPy 1's limit
MAX_ARRAYS = 1 << 16  # real files have hundreds; a record may be as small as 4 bytes, a Python object is not
MAX_NAME_BYTES = 1 << 16


def read_list(cursor: ByteCursor) -> tuple[list[Array], list[str]]:
    """(arrays, names) of a whole file; names is empty for a list without names.

    Raises: InputError naming the path, the byte, what is wrong and what to do.
    """
    magic, reserved, count = cursor.numbers("QQQ", "the header of an NDArray list")
    if magic != LIST_MAGIC or reserved != 0:
        cursor.fail("no header of an NDArray list", "give a .params file that MXNet saved", at=0)
    if count > MAX_ARRAYS or count * 4 > cursor.remaining:
        cursor.fail(f"claims {count} arrays, more than {cursor.remaining} bytes can hold", at=16)
    arrays = [read_array(cursor, f"array {place + 1} of {count}") for place in range(count)]
    names = read_names(cursor, count)
    if cursor.remaining:
        cursor.fail(
            f"{cursor.remaining} bytes follow the end of the list", "is this two files in one? " + "Save it again"
        )
    return arrays, names


def read_names(cursor: ByteCursor, count: int) -> list[str]:
    at = cursor.offset
    number = cursor.number("Q", "the number of names")
    if number not in (0, count):
        cursor.fail(f"{number} names for {count} arrays", at=at)
    names = []
    for place in range(number):
        what = f"name {place + 1} of {number}"
        at = cursor.offset
        length = cursor.number("Q", f"the length of {what}")
        if length > MAX_NAME_BYTES:
            cursor.fail(f"{what} claims {length} bytes", at=at)
        try:
            names.append(cursor.take(length, what).decode("utf-8"))
        except UnicodeDecodeError:
            cursor.fail(f"{what} is no UTF-8 text", at=at)
    return names


def read_array(cursor: ByteCursor, what: str) -> Array:
    at = cursor.offset
    magic = cursor.number("I", what)
    if magic in (V2, V3):
        return read_current(cursor, what, scalar_allowed=magic == V3)
    if magic == V1:
        shape = read_shape(cursor, what)
    elif magic <= MAX_DIMENSIONS:  # V0: this word is the number of dimensions
        shape = cursor.numbers(f"{magic}I", f"the shape of {what}")
    else:
        cursor.fail(f"{what} begins with {magic:#x}, which no version of MXNet writes", at=at)
    return read_dense(cursor, shape, what) if shape else empty_array()


def read_current(cursor: ByteCursor, what: str, scalar_allowed: bool) -> Array:
    at = cursor.offset
    storage = cursor.number("i", f"the storage type of {what}")
    if storage not in INDEX_ARRAYS:
        cursor.fail(f"{what} has storage type {storage}; known are 0 dense, 1 row_sparse, 2 csr", at=at)
    if storage != DENSE:
        read_shape(cursor, what)  # of the stored values: MXNet may write it too early, so the index arrays decide
    shape = read_shape(cursor, what, unknown_allowed=scalar_allowed)
    if shape is None or (not shape and not scalar_allowed):
        return empty_array()
    if storage == DENSE:
        return read_dense(cursor, shape, what)
    return read_sparse(cursor, storage, shape, what)


def empty_array() -> np.ndarray:
    return np.empty(0, np.float32)


def read_shape(cursor: ByteCursor, what: str, unknown_allowed: bool = False) -> tuple[int, ...] | None:
    at = cursor.offset
    ndim = cursor.number("i", f"the shape of {what}")
    if unknown_allowed and ndim == -1:
        return None
    if not 0 <= ndim <= MAX_DIMENSIONS:
        cursor.fail(f"{what} claims {ndim} dimensions; expected 0 to {MAX_DIMENSIONS}", at=at)
    shape = cursor.numbers(f"{ndim}q", f"the shape of {what}")
    if unknown_allowed and -1 in shape and min(shape) == -1:
        return None
    if shape and min(shape) < 0:
        cursor.fail(f"{what} claims the shape {list(shape)}", at=at)
    return shape


def read_type(cursor: ByteCursor, what: str) -> np.dtype:
    at = cursor.offset
    flag = cursor.number("i", f"the type of {what}")
    if flag not in DTYPE_OF_FLAG:
        cursor.fail(f"{what} has type flag {flag}; known are 0 to 12", at=at)
    return DTYPE_OF_FLAG[flag]


def read_device_and_type(cursor: ByteCursor, what: str) -> np.dtype:
    at = cursor.offset
    device, number = cursor.numbers("ii", f"the device of {what}")
    if device not in (1, 2, 3, 5) or number < 0:  # cpu, gpu, pinned, shared
        cursor.fail(f"{what} names device {device}, number {number}, which MXNet does not have", at=at)
    return read_type(cursor, what)


def read_dense(cursor: ByteCursor, shape: tuple[int, ...], what: str) -> np.ndarray:
    dtype = read_device_and_type(cursor, what)
    return cursor.array(dtype, shape, what)


def read_sparse(cursor: ByteCursor, storage: int, shape: tuple[int, ...], what: str) -> Sparse:
    at = cursor.offset
    if not shape or (storage == CSR and len(shape) != 2):
        cursor.fail(f"{what} is sparse but has the shape {list(shape)}", at=at)
    dtype = read_device_and_type(cursor, what)
    layouts = []
    for _ in range(INDEX_ARRAYS[storage]):
        index_type = read_type(cursor, f"an index of {what}")
        index_shape = read_shape(cursor, f"an index of {what}")
        if index_type.kind not in "iu" or index_shape is None or len(index_shape) != 1:
            cursor.fail(f"{what} has an index array {index_type.name} {index_shape}; expected 1-D integers", at=at)
        layouts.append((index_type, index_shape))
    stored = layouts[-1][1][0]  # row_sparse: rows; csr: indptr comes first, then the columns
    values = cursor.array(dtype, (stored,) if storage == CSR else (stored, *shape[1:]), what)
    index = [cursor.array(index_type, index_shape, f"an index of {what}") for index_type, index_shape in layouts]
    indptr = index[0] if storage == CSR else None
    sparse = Sparse("csr" if storage == CSR else "row_sparse", values, index[-1], indptr, shape)
    reason = sparse_fault(sparse)
    if reason:
        cursor.fail(f"{what}: {reason}", at=at)
    return sparse


def sparse_fault(sparse: Sparse) -> str | None:
    """What makes the index arrays wrong for the shape, or None."""
    bound = sparse.shape[0] if sparse.kind == "row_sparse" else sparse.shape[1]
    if len(sparse.indices) != len(sparse.data):
        return f"{len(sparse.indices)} indices for {len(sparse.data)} stored values"
    if sparse.indices.size and (sparse.indices.min() < 0 or sparse.indices.max() >= bound):
        return f"an index lies outside 0..{bound - 1}"
    if sparse.indptr is None:
        return None
    if len(sparse.indptr) != sparse.shape[0] + 1:
        return f"{len(sparse.indptr)} row starts for {sparse.shape[0]} rows; expected one more than rows"
    starts = sparse.indptr.astype(np.int64)
    if starts[0] != 0 or starts[-1] != len(sparse.data) or (np.diff(starts) < 0).any():
        return "the row starts do not rise from 0 to the number of stored values"
    return None
