"""A folder of one's own: VOC's XML, COCO's JSON, or images with label maps beside them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.data import published
from dcn_tasks.data.coco import CocoDataset, extend, read_api
from dcn_tasks.data.dataset import ListedDataset
from dcn_tasks.data.reading import IMAGE_SUFFIXES, collected, first_few, listed_ids, tabled_ids
from dcn_tasks.data.sample import Sample
from dcn_tasks.data.voc_xml import read_annotation, sample_of
from dcn_tasks.errors import InputError
from dcn_tasks.images import image_size
from dcn_tasks.segmentation import IGNORED_LABEL
from dcn_tasks.task import SEGMENTATION, task_of

IMAGE_FOLDERS = ("JPEGImages", "images", "Images", ".")
XML_FOLDERS = ("Annotations", "annotations", ".")
EVERYTHING = ("", "all")


def read_folder(cfg: Config, image_set: str, folder: Path, *, bad: str = "stop") -> ListedDataset:
    """One or more sets of a folder as one data set, without the original's quirks.

    Args:
        cfg: dataset.CLASS_NAMES; empty: the classes found in the annotations of the set, sorted (of JSON: in its order),
            which must then be NUM_CLASSES - 1.
        image_set: names joined by +; "all": every annotation. See docs/data.md for what a name may stand for.
    Raises: InputError when nothing is found (with the layouts looked for), for unknown classes, broken files.
    """
    names = image_set.split("+")
    if task_of(cfg) is SEGMENTATION:
        dataset = ListedDataset(f"{folder.name} {image_set}", class_list(cfg, [], folder), [])
        for name in names:
            dataset.samples += labelled(cfg, folder, name, bad, dataset.notes)
        return dataset
    files = [json_of(folder, name) for name in names]
    if all(path is not None for path in files):
        return of_json(cfg, image_set, folder, [path for path in files if path is not None], names, bad)
    return of_xml(cfg, image_set, folder, names, bad)


def class_list(cfg: Config, found: Sequence[str], folder: Path) -> list[str]:
    """Class names with the background first. Raises: InputError unless they are NUM_CLASSES."""
    segmentation = task_of(cfg) is SEGMENTATION
    count = cfg.dataset.NUM_CLASSES
    if segmentation:
        own = list(cfg.dataset.CLASS_NAMES)
        return own if len(own) == count else ["background", *own] if len(own) == count - 1 else numbered(count)
    names = list(cfg.dataset.CLASS_NAMES) or list(found)
    if not names:
        raise InputError(
            f"{folder}: {cfg.dataset.image_set}: expected objects in its annotations, or dataset.CLASS_NAMES, found no class"
        )
    if len(names) + 1 != count:
        raise InputError(
            f"{folder}: dataset.NUM_CLASSES: expected {len(names) + 1}, the background and {len(names)} classes, got {count}: "
            f"set NUM_CLASSES: {len(names) + 1} and CLASS_NAMES: [{', '.join(names)}]"
        )
    return ["background", *names]


def numbered(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


def json_of(folder: Path, name: str) -> Path | None:
    """The COCO JSON that a set's name stands for."""
    patterns = (f"annotations/instances_{name}.json", f"annotations/{name}.json", f"{name}.json",
                f"{name}/_annotations.coco.json", f"{name}/annotations.json", name)  # fmt: skip
    for pattern in patterns:
        path = folder / pattern
        if path.suffix == ".json" and path.is_file():
            return path
    return None


def of_json(
    cfg: Config, image_set: str, folder: Path, files: Sequence[Path], names: Sequence[str], bad: str
) -> CocoDataset:
    categories: dict[str, None] = {}
    if not cfg.dataset.CLASS_NAMES:
        for path in files:
            categories |= dict.fromkeys(each["name"] for each in read_api(path).dataset.get("categories", []))
    dataset = CocoDataset(f"{folder.name} {image_set}", class_list(cfg, list(categories), folder), [])
    for path, name in zip(files, names, strict=True):
        places = [*(folder / each / name for each in IMAGE_FOLDERS), *(folder / each for each in IMAGE_FOLDERS)]
        places += [path.parent, path.parent / "JPEGImages", *sorted((folder / "images").glob("*/"))]
        extend(dataset, path, places, original=False, bad=bad)
    return dataset


def of_xml(cfg: Config, image_set: str, folder: Path, names: Sequence[str], bad: str) -> ListedDataset:
    annotations = next((folder / each for each in XML_FOLDERS if any((folder / each).glob("*.xml"))), None)
    if annotations is None:
        raise published.missing(folder, published.FOLDER, set=names[0])
    stems = [stem for name in names for stem in stems_of(folder, annotations, name)]
    notes: list[str] = []
    paths = {stem: annotations / f"{stem}.xml" for stem in stems}
    found = set()
    if not cfg.dataset.CLASS_NAMES:
        for names_of_one in collected(f"classes of {folder.name}", stems, lambda stem: read_annotation(paths[stem]).names,
                                      bad=bad, notes=[]):  # fmt: skip
            found.update(names_of_one)
    class_names = class_list(cfg, sorted(found), folder)
    numbers = {name: index for index, name in enumerate(class_names) if index}
    dropped: list[str] = []

    def read(stem: str) -> Sample:
        image = image_of(folder, read_annotation(paths[stem]).filename, stem)
        return sample_of(stem, paths[stem], image, numbers, original=False, dropped=dropped)

    samples = collected(f"{folder.name} {image_set}", stems, read, bad=bad, notes=notes)
    if dropped:
        notes.append(f"{folder.name}: {len(dropped)} boxes without area in the image left out: {first_few(dropped)}")
    return ListedDataset(f"{folder.name} {image_set}", class_names, samples, notes)


def stems_of(folder: Path, annotations: Path, name: str) -> list[str]:
    """Names of a set's images without suffix: of a list (.txt: one a line, .csv: column `filename`), or all."""
    if name in EVERYTHING:
        return sorted(path.stem for path in annotations.glob("*.xml"))
    for pattern in (f"ImageSets/Main/{name}.txt", f"ImageSets/{name}.txt", f"{name}.txt", f"{name}.csv", name):
        path = folder / pattern
        if path.suffix == ".txt" and path.is_file():
            return [stem_of(each) for each in listed_ids(path)]
        if path.suffix == ".csv" and path.is_file():
            return [stem_of(each) for each in tabled_ids(path)]
    raise InputError(
        f"{folder}: image set {name!r}: expected ImageSets/Main/{name}.txt, {name}.txt, {name}.csv or `all`"
    )


def stem_of(name: str) -> str:
    return Path(name).stem if Path(name).suffix in IMAGE_SUFFIXES else Path(name).name


def image_of(folder: Path, filename: str, stem: str) -> Path:
    """The image of an annotation: the file that it names, else one of the annotation's name."""
    for place in IMAGE_FOLDERS:
        for name in (filename, *(stem + suffix for suffix in IMAGE_SUFFIXES)):
            if name and (folder / place / name).is_file():
                return folder / place / name
    raise InputError(
        f"{folder}: expected the image {filename or stem + '.jpg'} in {', '.join(IMAGE_FOLDERS[:3])}; not there"
    )


def labelled(cfg: Config, folder: Path, name: str, bad: str, notes: list[str]) -> list[Sample]:
    """Images with label maps of the same name."""
    pairs = ((folder / name, folder / f"{name}annot"), (folder / "images" / name, folder / "labels" / name))
    home = next((pair for pair in pairs if all(each.is_dir() for each in pair)), None)
    listed = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
    if home is not None:
        images = sorted(path for path in home[0].iterdir() if path.suffix in IMAGE_SUFFIXES)
    elif listed.is_file() or (name in EVERYTHING and (folder / "SegmentationClass").is_dir()):
        home = (folder / "JPEGImages", folder / "SegmentationClass")
        stems = listed_ids(listed) if listed.is_file() else sorted(path.stem for path in home[1].glob("*.png"))
        images = [image_of(folder, "", stem) for stem in stems]
    else:
        raise published.missing(folder, published.FOLDER, set=name)
    label_ids = np.arange(256, dtype=np.uint8)
    label_ids[list(cfg.dataset.VOID_LABELS)] = IGNORED_LABEL

    def read(image: Path) -> Sample:
        labels = home[1] / f"{image.stem}.png"
        if not labels.is_file():
            raise InputError(f"{labels}: expected the label map of {image.name}, there is no such file")
        width, height = image_size(image)
        return Sample(image.stem, image, height, width, labels=labels, label_ids=label_ids)

    return collected(f"{folder.name} {name}", images, read, bad=bad, notes=notes)
