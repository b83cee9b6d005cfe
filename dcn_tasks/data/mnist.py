"""MNIST's four idx files (LeCun, Cortes, Burges 1998)."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from dcn_tasks.data.fetch import found_or_fetched
from dcn_tasks.errors import InputError

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # yann.lecun.com refuses downloads
FILES = {  # (split, part): name, published MD5, bytes
    ("train", "images"): ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9912422),
    ("train", "labels"): ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28881),
    ("test", "images"): ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1648877),
    ("test", "labels"): ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4542),
}
UNSIGNED_BYTE = 0x08
MAX_BYTES = 1 << 28  # of one unpacked file


def read_mnist(folder: Path | str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 28, 28] and labels int64 [N] of "train" (60,000) or "test" (10,000).

    Args: folder: holds the .gz files or the unpacked ones, itself or in `mnist/`; what is missing is fetched into it.
    Raises: InputError for an unknown split, a file that is missing and cannot be fetched, or is no idx file.
    """
    if split not in ("train", "test"):
        raise InputError(f"mnist: expected split train or test, got {split!r}")
    arrays = []
    for part in ("images", "labels"):
        name, md5, size = FILES[split, part]
        places = [Path(folder), Path(folder) / "mnist", Path(folder) / "MNIST" / "raw"]
        unpacked = [place / name.removesuffix(".gz") for place in places]
        path = next((each for each in unpacked if each.is_file()), None)
        arrays.append(read_idx(path or found_or_fetched(name, places, MIRROR + name, md5, size)))
    images, labels = arrays
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise InputError(f"{folder}: expected one label an image, got {list(images.shape)} and {list(labels.shape)}")
    return images, labels.astype(np.int64)


def read_idx(path: Path) -> np.ndarray:
    """An idx file of unsigned bytes, gzip-packed or not: 0, 0, type, number of axes, sizes (uint32, big-endian), bytes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected a whole idx file, could not read it: {error}") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE or len(data) < 4 + 4 * data[3]:
        raise InputError(
            f"{path}: expected an idx file of unsigned bytes, its header says {data[:4].hex() or 'nothing'}"
        )
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    values = len(data) - 4 - 4 * data[3]
    wanted = 1
    for side in shape:
        wanted *= side
    if values != wanted:
        raise InputError(f"{path}: expected {wanted} values for {list(shape)}, got {values}: is the file whole?")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
