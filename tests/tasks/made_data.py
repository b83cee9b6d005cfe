"""Small data sets in the official layouts, written for a test."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

Object = tuple[str, Sequence[float], int]  # name, corners from 1, difficult


def save_image(path: Path, height: int = 40, width: int = 60, *, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.blur(pixels, (5, 5)))
    return path


def save_labels(path: Path, labels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("P", np.shape(labels)[::-1])
    picture.putpalette([value for grey in range(256) for value in (grey, 255 - grey, 7)])
    picture.putdata(np.asarray(labels, np.uint8).reshape(-1).tolist())
    picture.save(path)
    return path


def annotation(objects: Sequence[Object], height: int = 40, width: int = 60, filename: str = "") -> str:
    rows = [
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{corners[0]}</xmin>"
        f"<ymin>{corners[1]}</ymin><xmax>{corners[2]}</xmax><ymax>{corners[3]}</ymax></bndbox></object>"
        for name, corners, difficult in objects
    ]
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename}</filename>{size}{''.join(rows)}</annotation>"


def voc(
    root: Path, year: str, split: str, images: dict[str, Sequence[Object]], *, size: tuple[int, int] = (40, 60)
) -> Path:
    """VOC{year} below root with one detection set; returns VOC{year}."""
    home = root / f"VOC{year}"
    for seed, (id, objects) in enumerate(images.items()):
        save_image(home / "JPEGImages" / f"{id}.jpg", *size, seed=seed)
        path = home / "Annotations" / f"{id}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(annotation(objects, *size, filename=f"{id}.jpg"))
    listing = home / "ImageSets" / "Main" / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{id}\n" for id in images))
    return home


def coco_content(
    objects: Sequence[dict], *, images: int = 2, height: int = 40, width: int = 60, names=("cat", "dog")
) -> dict:
    """Annotations as COCO's JSON holds them; objects: image_id, category_id, bbox, and more."""
    return {
        "images": [
            {"id": id, "file_name": f"{id:012d}.jpg", "height": height, "width": width} for id in range(1, images + 1)
        ],
        "categories": [{"id": 17 + place, "name": name} for place, name in enumerate(names)],
        "annotations": [
            {"id": id, "iscrowd": 0, "area": each["bbox"][2] * each["bbox"][3]} | each
            for id, each in enumerate(objects, 1)
        ],
    }


def coco(root: Path, name: str, content: dict) -> Path:
    """root/annotations/instances_{name}.json and root/images/{name}/."""
    path = root / "annotations" / f"instances_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    for image in content["images"]:
        save_image(root / "images" / name / image["file_name"], image["height"], image["width"], seed=image["id"])
    return path


def read_grey(path: Path) -> np.ndarray:
    """The bytes of a grey PNG, by OpenCV."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
