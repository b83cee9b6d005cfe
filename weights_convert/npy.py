"""The `.npy` and `.npz` files that MXNet 2 saves under the names `.params` and `.npz`, without pickle.

MXNet 2 writes an uncompressed ZIP of `.npy` members. A sparse array is a folder NAME/{data, indices[, indptr], shape,
format}.npy, whose `format.npy` has a header that is no NumPy header (two dictionaries run into each other), so that
`numpy.load` fails on it; its text, "csr" or "row_sparse", is what follows the header. bfloat16 is written as a
structure of one field. Source: MXNet 2.0.0b1 src/serialization/cnpy.cc, and files that MXNet 2.0.0b1 wrote.
"""

import os
import re
import zipfile
import zlib

import numpy as np

from dcn_tasks.errors import InputError
from weights_convert.arrays import Array, Sparse
from weights_convert.byte_cursor import AGAIN, ByteCursor
from weights_convert.dtypes import BFLOAT16, FLAG_OF_DTYPE
from weights_convert.ndarray_list import MAX_ARRAYS, MAX_DIMENSIONS, sparse_fault

NPY_MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 14
# Weights hardly shrink when packed (1.1 times); freshly initialised zeros do. What unpacks further is a bomb.
MAX_EXPANSION, FREE_EXPANSION_BYTES = 64, 1 << 20

HEADER = re.compile(
    rb"\{'descr': ?(?:'(?P<descr>[<>|=]?[A-Za-z]\d*)'|(?P<bfloat16>\[\('bfloat16', ?'<u2'\)\])), ?"
    rb"'fortran_order': ?(?P<fortran>True|False), ?'shape': ?\((?P<shape>[\d, L]*)\),? ?\} *\n"
)
SPARSE_MEMBERS = {"row_sparse": {"data", "indices", "shape", "format"}}
SPARSE_MEMBERS["csr"] = SPARSE_MEMBERS["row_sparse"] | {"indptr"}


def read_npy(cursor: ByteCursor) -> np.ndarray:
    """The array of a `.npy` file or member. Raises InputError for objects, foreign types, missing or extra bytes."""
    header = HEADER.fullmatch(read_header(cursor))
    if header is None:
        cursor.fail("a NumPy header that can't be read", "save the array with numpy.save", at=0)
    if header["descr"] and b"O" in header["descr"]:
        cursor.fail("the array holds Python objects (pickle), which are never loaded", "save plain numbers", at=0)
    dtype = BFLOAT16 if header["bfloat16"] else numpy_type(header["descr"].decode())
    if dtype is None:
        cursor.fail(f"NumPy type {header['descr'].decode()!r} is none of MXNet's", "save plain numbers", at=0)
    extents = [part.strip(b" L") for part in header["shape"].split(b",")]
    digits = [part for part in extents if part]
    if len(digits) > MAX_DIMENSIONS or any(not part.isdigit() or len(part) > 19 for part in digits):
        cursor.fail(f"a shape that can't be: ({header['shape'].decode()})", at=0)
    shape = tuple(int(part) for part in digits)
    fortran = header["fortran"] == b"True"
    array = cursor.array(dtype, shape[::-1] if fortran else shape, "the array")
    if cursor.remaining:
        cursor.fail(f"{cursor.remaining} bytes follow the array")
    return array.transpose() if fortran else array


def read_header(cursor: ByteCursor) -> bytes:
    magic, major, _minor = cursor.numbers("6sBB", "the NumPy header")
    if magic != NPY_MAGIC or major not in (1, 2, 3):
        cursor.fail("no NumPy header", "save the array with numpy.save", at=0)
    length = cursor.number("H" if major == 1 else "I", "the NumPy header")
    if length > MAX_HEADER_BYTES:
        cursor.fail(f"claims a NumPy header of {length} bytes", at=8)
    return cursor.take(length, "the NumPy header")


def numpy_type(descr: str) -> np.dtype | None:
    """The type in the machine's byte order names, or None where MXNet has no such type."""
    try:
        dtype = np.dtype(descr)
    except TypeError:
        return None
    return dtype if dtype.newbyteorder("<") in FLAG_OF_DTYPE or dtype in FLAG_OF_DTYPE else None


def read_npz(path: str | os.PathLike) -> tuple[list[Array], list[str]]:
    """(arrays, names) of a ZIP of `.npy` members, sparse folders put together.

    Raises: InputError for a damaged archive, a member that is no array, or one that unpacks beyond reason.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            contents = {info.filename: info for info in archive.infolist()}
            check_archive(path, archive.infolist(), contents)
            members = {name: archive.read(info) for name, info in contents.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: a damaged or foreign ZIP archive ({error}); {AGAIN}") from None
    return assemble(path, members)


def check_archive(
    path: str | os.PathLike, listing: list[zipfile.ZipInfo], contents: dict[str, zipfile.ZipInfo]
) -> None:
    if any(name.endswith(("data.pkl", "constants.pkl")) for name in contents):
        raise InputError(f"{path}: is a pickled PyTorch checkpoint, which is never loaded; give MXNet's .params file")
    if len(contents) != len(listing) or len(listing) > MAX_ARRAYS:
        raise InputError(f"{path}: the ZIP archive names a member twice or has too many ({len(listing)}); {AGAIN}")
    for name, info in contents.items():
        if not name.endswith(".npy"):
            raise InputError(f"{path}: holds {name!r}, which is no .npy member; give a file that MXNet 2 saved")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{path}: {name!r} is packed by method {info.compress_type}; save it with numpy.savez")
    unpacked, packed = sum(info.file_size for info in listing), os.path.getsize(path)
    if (
        sum(info.compress_size for info in listing) > packed
        or min((info.header_offset for info in listing), default=0) < 0
    ):
        raise InputError(f"{path}: the ZIP archive claims members larger than itself; {AGAIN}")
    if unpacked > MAX_EXPANSION * packed + FREE_EXPANSION_BYTES:
        raise InputError(
            f"{path}: {packed} bytes claim to unpack to {unpacked}, more than {MAX_EXPANSION} times as many: refused "
            "as a ZIP bomb; if you trust it, save it uncompressed with numpy.savez"
        )


def assemble(path: object, members: dict[str, bytes]) -> tuple[list[Array], list[str]]:
    folders: dict[str, set[str]] = {}
    for name in members:
        folder, slash, leaf = name.rpartition("/")
        if slash:
            folders.setdefault(folder, set()).add(leaf.removesuffix(".npy"))
    sparse = {folder for folder, leaves in folders.items() if leaves in SPARSE_MEMBERS.values()}
    arrays: list[Array] = []
    names: list[str] = []
    for name, data in members.items():
        folder, _, leaf = name.rpartition("/")
        if folder not in sparse:
            arrays.append(read_npy(ByteCursor(f"{path}: {name}", data)))
            names.append(name.removesuffix(".npy"))
        elif leaf == "data.npy":
            arrays.append(read_sparse_folder(path, folder, members))
            names.append(folder)
    return arrays, names


def read_sparse_folder(path: object, folder: str, members: dict[str, bytes]) -> Sparse:
    where = f"{path}: {folder}"

    def array(leaf: str) -> np.ndarray:
        return read_npy(ByteCursor(f"{where}/{leaf}.npy", members[f"{folder}/{leaf}.npy"]))

    cursor = ByteCursor(f"{where}/format.npy", members[f"{folder}/format.npy"])
    read_header(cursor)  # malformed by MXNet itself; the text after it is whole
    kind = cursor.take(cursor.remaining, "the format").decode("ascii", "replace")
    has_row_starts = f"{folder}/indptr.npy" in members
    if kind not in SPARSE_MEMBERS or (kind == "csr") != has_row_starts:
        raise InputError(f"{where}: sparse format {kind[:20]!r}; MXNet has csr and row_sparse: save it as one of them")
    extents, data, indices = array("shape"), array("data"), array("indices")
    indptr = array("indptr") if has_row_starts else None
    if extents.ndim != 1 or extents.dtype.kind not in "iu" or (extents.size and extents.min() < 0):
        raise InputError(f"{where}: the shape member is {extents.dtype.name} {list(extents.shape)}; {AGAIN}")
    shape = tuple(int(extent) for extent in extents)
    index_arrays = [indices] if indptr is None else [indices, indptr]
    if any(index.ndim != 1 or index.dtype.kind not in "iu" for index in index_arrays):
        raise InputError(f"{where}: index arrays must be 1-D integers; {AGAIN}")
    stored_shape = (len(indices), *shape[1:]) if kind == "row_sparse" else (len(indices),)
    if not shape or (kind == "csr" and len(shape) != 2) or data.shape != stored_shape:
        raise InputError(f"{where}: {kind} values {list(data.shape)} for the shape {list(shape)}; {AGAIN}")
    sparse = Sparse("csr" if kind == "csr" else "row_sparse", data, indices, indptr, shape)
    reason = sparse_fault(sparse)
    if reason:
        raise InputError(f"{where}: {reason}; {AGAIN}")
    return sparse
