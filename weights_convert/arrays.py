"""What a parameter file holds: dense NumPy arrays, sparse ones, and which of them are auxiliary states."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from dcn_tasks.errors import InputError


@dataclass(frozen=True, eq=False)
class Sparse:
    """A row-sparse or compressed-sparse-row array as MXNet stores it.

    `data`: [rows kept, *shape[1:]] for "row_sparse", [stored] for "csr"; `indices`: rows kept, or the column of each
    stored value; `indptr`: [shape[0] + 1], where each row's values begin ("csr" only); `shape`: of the whole array.
    """

    kind: Literal["row_sparse", "csr"]
    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray | None
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    def to_dense(self) -> np.ndarray:
        """The whole array [*shape], absent values 0. Allocates all of it: look at `shape` first."""
        dense = np.zeros(self.shape, self.data.dtype)
        if self.indptr is None:
            dense[self.indices] = self.data
        else:
            rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
            dense[rows, self.indices] = self.data
        return dense


Array = np.ndarray | Sparse


@dataclass(frozen=True, eq=False)
class Params:
    """The arrays of one parameter file, in the file's order.

    `arg`: parameters by name without `arg:`; names that stood without any prefix (Gluon) are here too and are listed
    in `bare`. `aux`: auxiliary states (BatchNorm statistics) by name without `aux:`. `unnamed`: the arrays of a file
    that has no names. Values are read-only NumPy arrays (views of the mapped file, aligned or not) or `Sparse`.
    """

    arg: dict[str, Array] = field(default_factory=dict)
    aux: dict[str, Array] = field(default_factory=dict)
    unnamed: list[Array] = field(default_factory=list)
    bare: frozenset[str] = frozenset()

    def items(self) -> Iterator[tuple[str, Array]]:
        """(name as it stands in a file, array); an unnamed array's name is its place, "[0]"."""
        for name, array in self.arg.items():
            yield (name if name in self.bare else f"arg:{name}"), array
        for name, array in self.aux.items():
            yield f"aux:{name}", array
        for place, array in enumerate(self.unnamed):
            yield f"[{place}]", array

    def __len__(self) -> int:
        return len(self.arg) + len(self.aux) + len(self.unnamed)


def named_params(path: object, names: list[str], arrays: list[Array]) -> Params:
    """Sorts (name, array) pairs into `Params` by their prefix; two arrays of one name are an InputError."""
    params, bare = Params(), set()
    for name, array in zip(names, arrays, strict=True):
        prefix, colon, rest = name.partition(":")
        prefixed = bool(colon) and prefix in ("arg", "aux")
        target, key = (params.aux if prefix == "aux" else params.arg, rest) if prefixed else (params.arg, name)
        if key in target:
            raise InputError(f"{path}: two arrays are named {key!r}; which one counts? Save the file again with one")
        target[key] = array
        if not prefixed:
            bare.add(key)
    return Params(params.arg, params.aux, [], frozenset(bare))


def same_bits(one: Array, other: Array) -> bool:
    """True if kind, shape, dtype and every byte agree (so NaN equals NaN, and 0.0 is not -0.0)."""
    if isinstance(one, Sparse) or isinstance(other, Sparse):
        return (
            isinstance(one, Sparse)
            and isinstance(other, Sparse)
            and (one.kind, one.shape, one.indptr is None) == (other.kind, other.shape, other.indptr is None)
            and same_bits(one.data, other.data)
            and same_bits(one.indices, other.indices)
            and (one.indptr is None or other.indptr is None or same_bits(one.indptr, other.indptr))
        )
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return np.array_equal(as_bytes(one), as_bytes(other))


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The array's memory as uint8 [nbytes], C order; copies only where the array is not contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def little_endian(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("<")) if array.dtype.byteorder == ">" else array


def as_in_a_file(array: Array) -> Array:
    """The same values in the byte order of files, of a sparse array its indices too."""
    if not isinstance(array, Sparse):
        return little_endian(array)
    indptr = None if array.indptr is None else little_endian(array.indptr)
    return replace(array, data=little_endian(array.data), indices=little_endian(array.indices), indptr=indptr)
