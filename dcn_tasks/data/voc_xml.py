"""Annotations in PASCAL VOC's XML."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import numpy as np

from dcn_tasks.data.reading import clipped_boxes, existing, uint16_boxes
from dcn_tasks.data.sample import Sample
from dcn_tasks.errors import InputError

MAX_BYTES = 1 << 22  # of one annotation
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotation:
    """corners: [G, 4] as in the file, from 1. names, difficult: [G]. filename: of the image, without folders."""

    filename: str
    width: int
    height: int
    corners: np.ndarray
    names: list[str]
    difficult: np.ndarray


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Refuses a document type before any entity of it is expanded: annotations have none, XML bombs do."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise InputError("a document type (<!DOCTYPE) is not accepted in annotations")


def read_annotation(path: Path) -> Annotation:
    """Raises: InputError for a file that is missing, too large, no XML, or without size or corners."""
    if existing(path, "an annotation (VOC XML)").stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: expected an annotation of at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        parser = ElementTree.XMLParser(target=_WithoutDoctype())
        parser.feed(path.read_bytes())
        root = parser.close()
    except (ElementTree.ParseError, InputError, LookupError, ValueError) as error:
        raise InputError(f"{path}: expected an annotation in VOC's XML, could not read it: {error}") from error
    objects = root.findall("object")
    width, height = (int(number(root.find("size"), side, path)) for side in ("width", "height"))
    if width <= 0 or height <= 0:
        raise InputError(f"{path}: expected the image's width and height in pixels in <size>, got {width} and {height}")
    corners = [[number(each.find("bndbox"), corner, path) for corner in CORNERS] for each in objects]
    return Annotation(
        filename=Path((root.findtext("filename") or "").replace("\\", "/")).name,
        width=width,
        height=height,
        corners=np.array(corners, np.float64).reshape(-1, 4),
        names=[(each.findtext("name") or "").strip() for each in objects],
        difficult=np.array([(each.findtext("difficult") or "0").strip() == "1" for each in objects], bool),
    )


def number(parent: ElementTree.Element | None, tag: str, path: Path) -> float:
    text = None if parent is None else parent.findtext(tag)
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: expected a number in <{tag}>, got {'nothing' if text is None else repr(text)}")
    return value


def sample_of(
    id: str, path: Path, image: Path, numbers: Mapping[str, int], *, original: bool, dropped: list[str]
) -> Sample:
    """The sample of an annotation file.

    Args:
        numbers: class number by name. original: boxes as the original stores them (see uint16_boxes); else clipped to the
            image, those without area left out and added to `dropped`.
    Raises: InputError as read_annotation, and for a class that is not among `numbers`.
    """
    found = read_annotation(path)
    classes = class_numbers(found.names, numbers, path)
    boxes = found.corners - 1  # the file counts pixels from 1
    keep = np.ones(len(boxes), bool)
    if original:
        boxes = uint16_boxes(boxes, path)
    else:
        boxes, keep = clipped_boxes(boxes, found.height, found.width)
        dropped += [f"{path.name} {corners.tolist()}" for corners in found.corners[~keep]]
    return Sample(
        id, image, found.height, found.width, boxes[keep], classes[keep], difficult=found.difficult[keep]
    )  # fmt: skip


def class_numbers(names: Sequence[str], numbers: Mapping[str, int], source: object) -> np.ndarray:
    """[G] class numbers. Raises: InputError that names the nearest known class."""
    for name in names:
        if name not in numbers:
            near = difflib.get_close_matches(name, numbers, n=1, cutoff=0)
            raise InputError(
                f"{source}: class {name!r} is unknown to the configuration, which has {len(numbers)} (nearest: "
                f"{near[0] if near else 'none'}): add it to dataset.CLASS_NAMES and to NUM_CLASSES, or correct the file"
            )
    return np.array([numbers[name] for name in names], np.int64)
