"""What all readers share: going through a list with a bar, leaving out what is broken, and saying what was left out."""

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from dcn_tasks.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
TEXT = "utf-8-sig"  # spreadsheets begin a file with a byte order mark
NAMED = 3  # examples that a note names
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".JPG", ".JPEG", ".PNG")


def collected(
    what: str, items: Sequence[Item], read: Callable[[Item], Result], *, bad: str, notes: list[str]
) -> list[Result]:
    """`read` of every item.

    Args: bad: "stop": the first InputError ends it; "skip": such items are left out, and `notes` says how many and which.
    Raises: InputError also when every item is bad.
    """
    results, reasons = [], []
    for item in watched(items, f"reading {what}"):
        try:
            results.append(read(item))
        except InputError as error:
            if bad != "skip":
                raise
            reasons.append(str(error))
    if items and not results:
        raise InputError(f"{what}: none of {len(items)} images can be used; the first: {reasons[0]}")
    if reasons:
        notes.append(f"{what}: {len(reasons)} of {len(items)} images left out: {first_few(reasons)}")
    return results


def watched(items: Sequence[Item], text: str) -> Iterable[Item]:
    """The items, with a progress bar where somebody looks at stderr."""
    if not sys.stderr.isatty():
        return items
    return track(items, text, console=Console(stderr=True), transient=True)


def first_few(texts: Sequence[str]) -> str:
    return "; ".join(texts[:NAMED]) + ("; ..." if len(texts) > NAMED else "")


def existing(path: Path, what: str) -> Path:
    """Raises: InputError unless the file is there."""
    if not path.is_file():
        raise InputError(f"{path}: expected {what}, there is no such file")
    return path


def listed_ids(path: Path) -> list[str]:
    """First word of every line of an image set file; blank lines are left out."""
    try:
        lines = existing(path, "a list of images").read_text(encoding=TEXT).splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a list of images, one name a line, got something else: {error}") from error
    return [line.split()[0] for line in lines if line.strip()]


def tabled_ids(path: Path) -> list[str]:
    """Column `filename` of a table (.csv), each name once. Raises: InputError for a table without it, or none at all."""
    try:
        with open(path, newline="", encoding=TEXT) as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table in UTF-8, separated by commas: {error}") from error
    if not rows or "filename" not in rows[0]:
        raise InputError(f"{path}: expected a column `filename`, got {list(rows[0]) if rows else 'no rows'}")
    return list(dict.fromkeys(row["filename"] for row in rows if row["filename"]))


def uint16_boxes(boxes: np.ndarray, source: object) -> np.ndarray:
    """Boxes as the original's roidb holds them: fractions cut off, below 0 wrapped around.

    Raises: InputError for a box that ends before it begins, which is what a wrapped one does.
    """
    stored = (np.trunc(boxes).astype(np.int64) & 0xFFFF).astype(np.float64)
    wrong = (stored[:, 2] < stored[:, 0]) | (stored[:, 3] < stored[:, 1])
    if wrong.any():
        raise InputError(
            f"{source}: expected boxes within 0 to 65535 that end after they begin, got x1, y1, x2, y2 = "
            f"{boxes[wrong][0].tolist()} (pixels from 0), which the original's 16 bits hold as {stored[wrong][0].tolist()}: "
            "correct the file, or set dataset.MODE: modern, which clips boxes to the image and drops empty ones"
        )
    return stored


def clipped_boxes(boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes within the image [G, 4], and which have any area left there [G].

    A box whose corners coincide in x or y has none, as have those outside and those that are not finite.
    """
    finite = np.isfinite(boxes).all(axis=1)
    limits = np.array([width - 1, height - 1, width - 1, height - 1], np.float64)
    inside = np.clip(np.where(finite[:, None], boxes, 0), 0, limits)
    touches = (boxes[:, 0] <= width - 1) & (boxes[:, 1] <= height - 1) & (boxes[:, 2] >= 0) & (boxes[:, 3] >= 0)
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return inside, finite & touches & real
