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
EXACT_IN_FLOAT = 2**53  # whole numbers below it


@dataclass
class CocoDataset(ListedDataset):
    """apis: the annotations as pycocotools holds them, one for each set. category_ids: by class number - 1."""

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
    dataset.category_ids = joined_ids(dataset, categories, path)
    dataset.apis.append(api)
    dropped: list[str] = []

    def read(id: int) -> Sample:
        image, objects = api.imgs[id], api.imgToAnns[id]
        check_size(image, path)
        check_objects(objects, categories, path)
        classes = class_numbers([categories[each["category_id"]] for each in objects], numbers, path)
        file = image_file(image["file_name"], places, path)
        boxes, keep = corners_of(
            np.array([each["bbox"] for each in objects], np.float64).reshape(-1, 4),
            image["height"],
            image["width"],
            original=original,
        )
        crowd = np.array([bool(each.get("iscrowd")) for each in objects], bool)
        looked_at = ~crowd if original else np.ones(len(objects), bool)
        keep &= np.array([each.get("area", 1) > 0 for each in objects], bool)
        empty = looked_at & ~keep
        dropped.extend(f"annotation {each['id']}" for each, lost in zip(objects, empty, strict=True) if lost)
        keep &= looked_at
        return Sample(
            str(id),
            file,
            image["height"],
            image["width"],
            uint16_boxes(boxes[keep], path) if original else boxes[keep],
            classes[keep],
            crowd=crowd[keep],
        )

    if strays := [each for each in api.anns.values() if each["image_id"] not in api.imgs]:
        text = f"annotation {strays[0]['id']}: expected the id of an image, got {strays[0]['image_id']}"
        if bad != "skip":
            raise InputError(f"{path}: {text}")
        dataset.notes.append(f"{path.name}: {len(strays)} annotations of no image left out: {text}")
    dataset.samples += collected(dataset.name, api.getImgIds(), read, bad=bad, notes=dataset.notes)
    if dropped:
        dataset.notes.append(
            f"{path.name}: {len(dropped)} boxes without area in the image left out: {first_few(dropped)}"
        )


def joined_ids(dataset: CocoDataset, categories: dict[int, str], path: Path) -> list[int]:
    """Category ids by class number - 1, of the sets so far and of this one; -1: none has that class.

    Raises: InputError where a set numbers classes unlike those before: their results could not be told apart.
    """
    ids = {categories[id]: id for id in sorted(categories, reverse=True)}
    own = {name: ids[name] for name in dataset.class_names[1:] if name in ids}
    known = {name: id for name, id in zip(dataset.class_names[1:], dataset.category_ids, strict=False) if id >= 0}
    taken = {id: name for name, id in known.items()}
    for name, id in own.items():
        if known.get(name, id) != id or taken.get(id, name) != name:
            raise InputError(
                f"{path}: category {name!r} has the id {id}: expected the numbers of the sets before, "
                f"{', '.join(f'{id} {name}' for id, name in sorted(taken.items())[:5])}: use the sets one by one"
            )
    known |= own
    return [known.get(name, -1) for name in dataset.class_names[1:]]


def image_file(name: str, places: Sequence[Path], path: Path) -> Path:
    """The image in the first folder that has it. Raises: InputError where none has, or for a name that leads elsewhere."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{path}: images: expected file_name below the folder of images, got {name!r}")
    return existing(next((each / name for each in places if (each / name).is_file()), places[0] / name), "an image")


def corners_of(boxes: np.ndarray, height: int, width: int, *, original: bool) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, width, height) [G, 4] as corners within the image, far edge inclusive, and which have something left [G].

    original: the far edge is counted from the clipped near one, and a box without width or height is a pixel wide or high.
    """
    near, size = boxes[:, :2], np.maximum(boxes[:, 2:] - 1, 0)
    limit = np.array([width - 1, height - 1], np.float64)
    clipped = np.maximum(near, 0)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is left out below
        far = np.minimum(limit, (clipped if original else near) + size)
    kept = (far >= clipped).all(axis=1) & np.isfinite(boxes).all(axis=1)
    return np.concatenate([clipped, far], axis=1), kept if original else kept & (boxes[:, 2:] > 0).all(axis=1)


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
    kinds: dict[str, dict[str, type]] = {
        "images": {"id": int, "file_name": str, "height": int, "width": int},
        "annotations": {"id": int, "image_id": int, "category_id": int},  # what pycocotools indexes by
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


def check_size(image: dict, path: Path) -> None:
    """Raises: InputError unless an image has pixels, no more than a float counts."""
    for side in ("height", "width"):
        if not 0 < image[side] < EXACT_IN_FLOAT:
            raise InputError(f"{path}: image {image['id']}: expected {side} in pixels, got {image[side]}")


def check_objects(objects: Sequence[dict], categories: dict[int, str], path: Path) -> None:
    """Raises: InputError unless boxes, areas and categories of one image's annotations can be used."""
    for each in objects:
        at = f"{path}: annotation {each['id']}"
        box = each.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
            raise InputError(f"{at}: expected bbox as x, y, width, height, got {box!r}")
        if not is_number(each.get("area", 0)):
            raise InputError(f"{at}: expected area as a number, or none, got {each['area']!r}")
        if each.get("iscrowd", 0) not in (0, 1):
            raise InputError(f"{at}: expected iscrowd 0 or 1, or none, got {each['iscrowd']!r}")
        if each["category_id"] not in categories:
            raise InputError(f"{at}: expected the id of one of its categories, got {each['category_id']}")


def is_number(value: object) -> bool:
    """Whether it fits a float: JSON's whole numbers know no limit."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < EXACT_IN_FLOAT)
