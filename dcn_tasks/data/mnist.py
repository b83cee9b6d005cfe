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
MAX_AXES = 4
SIDE, CLASSES = 28, 10  # pixels, digits
MAX_BYTES = 1 << 28  # of one unpacked file


def read_mnist(folder: Path | str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 28, 28] and labels int64 [N] of "train" (60,000) or "test" (10,000).

    Args: folder: holds the .gz files or the unpacked ones, itself or in `mnist/`; what is missing is fetched into it.
    Raises: InputError for an unknown split, a file that is missing and cannot be fetched, is no idx file, or another one than
        MNIST's: images of another size, labels above 9.
    """
    if split not in ("train", "test"):
        raise InputError(f"mnist: expected split train or test, got {split!r}")
    arrays, paths = [], []
    for part in ("images", "labels"):
        name, md5, size = FILES[split, part]
        places = [Path(folder), Path(folder) / "mnist", Path(folder) / "MNIST" / "raw"]
        unpacked = [place / name.removesuffix(".gz") for place in places]
        path = next((each for each in unpacked if each.is_file()), None)
        paths.append(path or found_or_fetched(name, places, MIRROR + name, md5, size))
        arrays.append(read_idx(paths[-1]))
    images, labels = arrays
    if images.shape != (*labels.shape[:1], SIDE, SIDE) or labels.ndim != 1 or not len(labels):
        raise InputError(
            f"{paths[0]}, {paths[1].name}: expected images of {SIDE}x{SIDE} pixels and one label an image, got "
            f"{list(images.shape)} and {list(labels.shape)}: are these MNIST's files?"
        )
    if labels.max() >= CLASSES:
        raise InputError(f"{paths[1]}: expected labels 0 to {CLASSES - 1}, got {labels.max()}: is this MNIST's file?")
    return images, labels.astype(np.int64)


def read_idx(path: Path) -> np.ndarray:
    """An idx file of unsigned bytes, gzip-packed or not: 0, 0, type, number of axes, sizes (uint32, big-endian), bytes.

    Raises: InputError for anything else, and for more than MAX_AXES axes.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected a whole idx file, could not read it: {error}") from error
    is_idx = len(data) >= 4 and data[:2] == b"\0\0" and data[2] == UNSIGNED_BYTE and data[3] <= MAX_AXES
    if not is_idx or len(data) < 4 + 4 * data[3]:
        raise InputError(
            f"{path}: expected an idx file of unsigned bytes in at most {MAX_AXES} axes, its header says "
            f"{data[:4].hex() or 'nothing'}"
        )
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    values = len(data) - 4 - 4 * data[3]
    wanted = 1
    for side in shape:
        wanted *= side
    if values != wanted:
        raise InputError(f"{path}: expected {wanted} values for {list(shape)}, got {values}: is the file whole?")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
