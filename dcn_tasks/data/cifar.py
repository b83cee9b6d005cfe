"""CIFAR-10: the published binary batches, or a copy of it as JPEG files (Krizhevsky 2009)."""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from dcn_tasks.data.fetch import found_or_fetched
from dcn_tasks.errors import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
ARCHIVE_MD5, ARCHIVE_BYTES = "c32a1d4ab5d03f1284b67883e8d87530", 170052171
JPEG_ARCHIVE = "cifar10_jpg_q75_60000.tar.gz"
BATCHES = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}
SIDE = 32  # pixels
RECORD = 1 + 3 * SIDE * SIDE  # label, then the R, G and B planes
MAX_UNPACKED = 1 << 28  # bytes of all that an archive unpacks to; the published one has 184 million
WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)


def read_cifar10(folder: Path | str, split: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Images RGB uint8 [N, 32, 32, 3], labels int64 [N], and in words which pixels these are.

    Args:
        folder: holds, itself or in `cifar10/`, the unpacked binary batches, cifar-10-binary.tar.gz, or the JPEG copy
            cifar10_jpg_q75_60000.tar.gz; the first of these is read. With none of them the binary archive is fetched.
        split: "train" (50,000) or "test" (10,000).
    Returns: the words are "lossless" or "JPEG q75 copy"; the copy is sorted by class.
    Raises: InputError for an unknown split or a broken file, or when nothing is there and nothing can be fetched.
    """
    if split not in BATCHES:
        raise InputError(f"cifar10: expected split train or test, got {split!r}")
    places = [Path(folder), Path(folder) / "cifar10", Path(folder) / "cifar-10-batches-bin"]
    for place in places:
        if all((place / name).is_file() for name in BATCHES[split]):
            return *of_records([(place / name).read_bytes() for name in BATCHES[split]], place), "lossless"
    if not any((place / ARCHIVE).is_file() for place in places):
        for place in places:
            if (place / JPEG_ARCHIVE).is_file():
                return *of_jpegs(place / JPEG_ARCHIVE, split), "JPEG q75 copy"
    path = found_or_fetched(ARCHIVE, places, ARCHIVE_URL, ARCHIVE_MD5, ARCHIVE_BYTES)
    wanted = {f"cifar-10-batches-bin/{name}" for name in BATCHES[split]}
    members = read_members(path, lambda name: name in wanted)
    if members.keys() != wanted:
        raise InputError(f"{path}: expected {', '.join(sorted(wanted))} in it, got {len(members)} of them")
    return *of_records([members[name] for name in sorted(wanted)], path), "lossless"


def of_records(batches: list[bytes], source: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of binary batches."""
    data = b"".join(batches)
    if not data or len(data) % RECORD:
        raise InputError(f"{source}: expected records of {RECORD} bytes, got {len(data)} bytes: is the file whole?")
    table = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    if table[:, 0].max() >= len(CLASSES):
        raise InputError(
            f"{source}: expected labels 0 to 9, got {table[:, 0].max()}: is this CIFAR-10's binary version?"
        )
    images = table[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), table[:, 0].astype(np.int64)


def of_jpegs(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of an archive of SPLIT/CLASS/NUMBER.jpg, sorted by name."""
    members = read_members(path, lambda name: name.startswith(f"{split}/") and name.endswith(".jpg"))
    images, labels = [], []
    names = sorted(members)
    for name in track(names, f"decoding {path.name}", console=Console(stderr=True), transient=True):
        image = decoded(members[name])
        label = name.split("/")[1]
        if image is None or label not in CLASSES:
            raise InputError(
                f"{path}: {name}: expected a JPEG of 32x32 pixels in a folder named for one of the classes"
            )
        images.append(image)
        labels.append(CLASSES.index(label))
    if not images:
        raise InputError(f"{path}: expected {split}/CLASS/NUMBER.jpg in it, got none")
    return np.stack(images), np.array(labels, np.int64)


def decoded(data: bytes) -> np.ndarray | None:
    """RGB uint8 [32, 32, 3] of a JPEG; None where it is none of that size, which its header says before pixels are made."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as header:
            if header.size != (SIDE, SIDE):
                return None
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except Exception:  # readers of damaged files raise anything
        return None
    return None if image is None or image.shape != (SIDE, SIDE, 3) else image[..., ::-1]


def read_members(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Regular files of a .tar.gz whose names are wanted; nothing is unpacked to disk.

    Extended headers (PAX, GNU) are skipped like any other data: the names looked for are short and need none, and tarfile takes
    as much memory for one as it claims.
    Raises: InputError for a damaged archive, or one that unpacks to more than MAX_UNPACKED bytes.
    """
    found = {}
    try:
        with gzip.open(path) as file:
            while (block := file.read(tarfile.BLOCKSIZE)).strip(b"\0"):
                member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
                size = 0 if member.type in WITHOUT_DATA else member.size
                end = file.tell() + -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if size < 0 or end > MAX_UNPACKED:
                    raise InputError(
                        f"{path}: expected an archive that unpacks to at most {MAX_UNPACKED} bytes, {member.name[:80]!r} "
                        f"has {size} at {file.tell()}: is this the published one?"
                    )
                if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and wanted(member.name):
                    found[member.name] = file.read(size)
                if file.seek(end, os.SEEK_SET) != end:
                    raise EOFError(f"it ends within {member.name[:80]!r}")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected a whole .tar.gz, could not read it: {error}") from error
    return found
