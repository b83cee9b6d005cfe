"""`save_params`: a `.params` file that MXNet 0.12 and newer loads, written whole or not at all."""

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from weights_convert.arrays import Array, Params, Sparse, as_bytes, as_in_a_file, little_endian, same_bits
from weights_convert.dtypes import FLAG_OF_DTYPE
from weights_convert.load import load_params
from weights_convert.ndarray_list import CSR, DENSE, LIST_MAGIC, MAX_DIMENSIONS, MAX_NAME_BYTES, ROW_SPARSE, V2

CPU = (1, 0)


def save_params(path: str | os.PathLike, params: Params) -> None:
    """Write `params` as an NDArray list (record version 2), read it back, compare every bit, then rename it into place.

    MXNet 1.9.1 loads every type but int16, uint16, uint32 and uint64, which are MXNet 2's.
    Names get their prefixes again, except those in `params.bare`; arrays without names make a list without names.

    Raises: InputError for what version 2 can't hold (a 0-dimensional array, a type MXNet lacks, named and unnamed
    arrays together); OSError from the disk. Either way no half-written file is left and an old one stays.
    """
    if params.unnamed and (params.arg or params.aux):
        raise InputError(f"{path}: an NDArray list has names for all arrays or for none; save the unnamed ones apart")
    entries = list(params.items())
    for name, array in entries:
        check_array(path, name, array)
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(struct.pack("<QQQ", LIST_MAGIC, 0, len(entries)))
            for _, array in entries:
                write_array(file, array)
            names = [] if params.unnamed else [name.encode("utf-8") for name, _ in entries]
            file.write(struct.pack("<Q", len(names)))
            for text in names:
                file.write(struct.pack("<Q", len(text)) + text)
        compare_with_file(temporary, path, entries)


def check_array(path: object, name: str, array: Array) -> None:
    parts = [array] if isinstance(array, np.ndarray) else [array.data, array.indices]
    for part in parts:
        if part.dtype.newbyteorder("<") not in FLAG_OF_DTYPE and part.dtype not in FLAG_OF_DTYPE:
            raise InputError(f"{path}: {name} has type {part.dtype}, which MXNet does not have; convert it first")
    if not 0 < len(array.shape) <= MAX_DIMENSIONS:
        raise InputError(
            f"{path}: {name} has {len(array.shape)} dimensions; a version 2 record holds 1 to {MAX_DIMENSIONS}: "
            "reshape a scalar to [1]"
        )
    if len(name.encode("utf-8")) > MAX_NAME_BYTES:
        raise InputError(f"{path}: a name of {len(name)} letters; at most {MAX_NAME_BYTES} bytes, shorten it")


def write_array(file: BinaryIO, array: Array) -> None:
    if isinstance(array, Sparse):
        write_sparse(file, array)
        return
    file.write(struct.pack("<Ii", V2, DENSE) + packed_shape(array.shape))
    file.write(struct.pack("<iii", *CPU, type_flag(array)))
    write_values(file, array)


def write_sparse(file: BinaryIO, sparse: Sparse) -> None:
    index = [sparse.indices] if sparse.indptr is None else [sparse.indptr, sparse.indices]
    storage = ROW_SPARSE if sparse.indptr is None else CSR
    file.write(struct.pack("<Ii", V2, storage) + packed_shape(sparse.data.shape) + packed_shape(sparse.shape))
    file.write(struct.pack("<iii", *CPU, type_flag(sparse.data)))
    for part in index:
        file.write(struct.pack("<i", type_flag(part)) + packed_shape(part.shape))
    for part in (sparse.data, *index):
        write_values(file, part)


def write_values(file: BinaryIO, array: np.ndarray) -> None:
    file.write(as_bytes(little_endian(array)).data)


def type_flag(array: np.ndarray) -> int:
    return FLAG_OF_DTYPE[little_endian(array).dtype]


def packed_shape(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<i{len(shape)}q", len(shape), *shape)


def compare_with_file(written: Path, path: object, entries: list[tuple[str, Array]]) -> None:
    again = dict(load_params(written).items())
    for name, array in entries:
        if name not in again or not same_bits(again[name], as_in_a_file(array)):
            raise OSError(
                f"{path}: {name} did not come back from the disk as it was written; check the disk, then retry"
            )
