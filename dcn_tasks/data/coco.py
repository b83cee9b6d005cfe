"""COCO's instances, by the official layout and pycocotools (original `lib/dataset/coco.py`)."""

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from dcn_tasks.class_names import COCO as COCO_NAMES
from dcn_tasks.config import Config
from dcn_tasks.data import published
from dcn_tasks.data.dataset import ListedDataset
from dcn_tasks.data.reading import collected, existing, first_few, uint16_boxes
from dcn_tasks.data.sample import Sample
from dcn_tasks.data.voc_xml import class_numbers
from dcn_tasks.errors import InputError

IMAGE_FOLDERS = {"minival2014": "val2014", "valminusminival2014": "val2014", "test-dev2015": "test2015",
                 "test-dev2017": "test2017"}  # fmt: skip


@dataclass
class CocoDataset(ListedDataset):
    """api: the annotations as pycocotools holds them, one for each set. category_ids: by class number - 1."""

    apis: list[COCO] = field(default_factory=list)
    category_ids: list[int] = field(default_factory=list)


def read_coco(cfg: Config, image_set: str, folder: Path, *, bad: str = "stop") -> CocoDataset:
    """One or more sets as one data set.

    Args:
        image_set: train2014, val2017, minival2014, test-dev2015 ..., joined by +.
        folder: holds annotations/ and images/, itself or in coco/. bad: as in read_voc.
    """
    dataset = CocoDataset(f"COCO {image_set}", ["background", *COCO_NAMES], [])
    for name in image_set.split("+"):
        images = IMAGE_FOLDERS.get(name, name)
        kind = "image_info" if name.startswith("test") else "instances"
        for root in (folder, folder / "coco"):
            path = root / "annotations" / f"{kind}_{name}.json"
            places = [root / "images" / images, root / images]
            if path.is_file() and any(place.is_dir() for place in places):
                break
        else:
            raise published.missing(folder, published.COCO, set=name, images=images)
        extend(dataset, path, places, original=cfg.dataset.MODE == "original", bad=bad)
    return dataset


def extend(dataset: CocoDataset, path: Path, places: Sequence[Path], *, original: bool, bad: str) -> None:
    """Adds the images and objects of an annotation file; `places` are the folders to look for images in."""
    api = read_api(path)
    numbers = {name: index for index, name in enumerate(dataset.class_names) if index}
    categories = {each["id"]: each["name"] for each in api.dataset.get("categories", [])}
    used = {each["category_id"] for each in api.anns.values()}
    if unknown := used - categories.keys():
        raise InputError(f"{path}: expected annotations of its categories, got category_id {sorted(unknown)[:3]}")
    class_numbers([categories[id] for id in sorted(used)], numbers, path)
    ids = {categories[id]: id for id in sorted(categories, reverse=True)}
    dataset.category_ids = [ids.get(name, -1) for name in dataset.class_names[1:]]
    dataset.apis.append(api)
    dropped: list[str] = []

    def read(id: int) -> Sample:
        image = api.imgs[id]
        file = next((place / image["file_name"] for place in places if (place / image["file_name"]).is_file()), None)
        existing(file or places[0] / image["file_name"], "an image")
        objects = [each for each in api.imgToAnns[id] if not (original and each.get("iscrowd"))]
        boxes = np.array([each["bbox"] for each in objects], np.float64).reshape(-1, 4)
        boxes, keep = corners_of(boxes, image["height"], image["width"], original=original)
        keep &= np.array([each.get("area", 1) > 0 for each in objects], bool)
        dropped.extend(f"annotation {each['id']}" for each, kept in zip(objects, keep, strict=True) if not kept)
        objects = [each for each, kept in zip(objects, keep, strict=True) if kept]
        return Sample(
            str(id),
            file,  # type: ignore[arg-type]
            image["height"],
            image["width"],
            uint16_boxes(boxes[keep], path) if original else boxes[keep],
            np.array([numbers[categories[each["category_id"]]] for each in objects], np.int64),
            crowd=np.array([bool(each.get("iscrowd", 0)) for each in objects], bool),
        )

    dataset.samples += collected(dataset.name, api.getImgIds(), read, bad=bad, notes=dataset.notes)
    if dropped:
        dataset.notes.append(
            f"{path.name}: {len(dropped)} boxes without area in the image left out: {first_few(dropped)}"
        )


def corners_of(boxes: np.ndarray, height: int, width: int, *, original: bool) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, width, height) [G, 4] as corners within the image, far edge inclusive, and which have something left [G].

    original: the far edge is counted from the clipped near one.
    """
    near, size = boxes[:, :2], np.maximum(boxes[:, 2:] - 1, 0)
    limit = np.array([width - 1, height - 1], np.float64)
    clipped = np.maximum(near, 0)
    far = np.minimum(limit, (clipped if original else near) + size)
    return np.concatenate([clipped, far], axis=1), (far >= clipped).all(axis=1) & np.isfinite(boxes).all(axis=1)


def read_api(path: Path) -> COCO:
    """An annotation file in pycocotools' index. Raises: InputError for anything else."""
    try:
        content = json.loads(existing(path, "annotations (COCO JSON)").read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected COCO's JSON, could not read it: {error}") from error
    check_content(content, path)
    return api_of(content)


def api_of(content: dict) -> COCO:
    """pycocotools' index of annotations; what it prints is dropped."""
    api = COCO()
    api.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
    return api


def check_content(content: object, path: Path) -> None:
    """Raises: InputError unless the keys that are read are there and of the right kind."""
    kinds = {
        "images": {"id": int, "file_name": str, "height": int, "width": int},
        "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": list},
        "categories": {"id": int, "name": str},
    }
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise InputError(f"{path}: expected COCO's JSON with a list `images`, got {type(content).__name__}")
    for group, keys in kinds.items():
        if not isinstance(content.get(group, []), list):
            raise InputError(f"{path}: expected a list `{group}`, got {content[group]!r}")
        for entry in content.get(group, []):
            for key, kind in keys.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
                    got = entry.get(key) if isinstance(entry, dict) else entry
                    raise InputError(f"{path}: {group}: expected {key} ({kind.__name__}) in every entry, got {got!r}")
    for each in content.get("annotations", []):
        if len(each["bbox"]) != 4 or not all(isinstance(value, int | float) for value in each["bbox"]):
            raise InputError(
                f"{path}: annotation {each['id']}: expected bbox as x, y, width, height, got {each['bbox']!r}"
            )
        if not isinstance(each.get("area", 0), int | float):
            raise InputError(
                f"{path}: annotation {each['id']}: expected area as a number, or none, got {each['area']!r}"
            )
    outside = next((each["file_name"] for each in content["images"] if leaves(each["file_name"])), None)
    if outside is not None:
        raise InputError(f"{path}: images: expected file_name below the folder of images, got {outside!r}")
    known = {each["id"] for each in content["images"]}
    stray = next((each for each in content.get("annotations", []) if each["image_id"] not in known), None)
    if stray is not None:
        raise InputError(f"{path}: annotation {stray['id']}: expected the id of an image, got {stray['image_id']}")


def leaves(file_name: str) -> bool:
    """Whether a relative name leads out of its folder."""
    return Path(file_name).is_absolute() or ".." in Path(file_name).parts
