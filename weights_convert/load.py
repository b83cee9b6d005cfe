"""`load_params`: what kind of file is this, and its arrays."""

import os

from dcn_tasks.errors import InputError
from weights_convert.arrays import Params, named_params
from weights_convert.byte_cursor import ByteCursor, map_file
from weights_convert.ndarray_list import LIST_MAGIC, read_list
from weights_convert.npy import NPY_MAGIC, read_npy, read_npz

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
LFS_POINTER = b"version https://git-lfs"
# What people hand in by mistake, by its first bytes.
FOREIGN = {
    LFS_POINTER: "is a Git LFS pointer, not the file; run `git lfs pull` in its repository or fetch the file itself",
    b"\x89HDF": "is an HDF5 file (Keras?); give MXNet's .params file",
    b"\x80\x02": "is a pickle (PyTorch, or an MXNet .states file), which is never loaded; give MXNet's .params file",
    b"\x80\x03": "is a pickle, which is never loaded; give MXNet's .params file",
    b"\x80\x04": "is a pickle, which is never loaded; give MXNet's .params file",
    b"\x80\x05": "is a pickle, which is never loaded; give MXNet's .params file",
    b"\x1f\x8b": "is a gzip archive; unpack it first",
    b"{": "is JSON, perhaps the graph; give the .params file (`dcn inspect` shows a symbol.json too)",
    b"<": "is a web page or XML, perhaps an error page saved by a download; fetch the file again",
}


def load_params(path: str | os.PathLike) -> Params:
    """Read a `.params`, `.nd`, `.npz` or `.npy` file of any MXNet (0.5 to 2.0), with NumPy alone.

    Values keep the file's dtype (bool and bfloat16 too) and are read-only; `_test` names are kept as they are.
    Nothing is allocated beyond the size of the file (64 times it, plus 1 MiB, for a compressed `.npz`).

    Raises: InputError naming path, byte, reason and remedy: truncated, trailing bytes, foreign, claims that the file
    can't hold. OSError if it can't be opened.
    """
    buffer = map_file(path)
    head = buffer[:32]
    cursor = ByteCursor(path, buffer)
    if head[:8] == LIST_MAGIC.to_bytes(8, "little"):
        arrays, names = read_list(cursor)
        return named_params(path, names, arrays) if names else Params(unnamed=arrays)
    if head[:4] in ZIP_MAGICS:
        arrays, names = read_npz(path)
        return named_params(path, names, arrays)
    if head[:6] == NPY_MAGIC:
        return Params(unnamed=[read_npy(cursor)])
    raise InputError(f"{path}: {foreign_reason(head, len(buffer))}")


def foreign_reason(head: bytes, size: int) -> str:
    for magic, sentence in FOREIGN.items():
        if head.startswith(magic):
            return sentence
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "is a .safetensors file, which PyTorch reads; give MXNet's .params file"
    shown = head[:8].hex(" ")
    return (
        f"begins with {shown}, which is no MXNet parameter file (12 01 00 ..., PK or NUMPY); give one that MXNet saved"
    )
