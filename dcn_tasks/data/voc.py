"""PASCAL VOC 2007 and 2012, detection and segmentation, in the layout of the development kit (original `pascal_voc.py`)."""

from pathlib import Path

from dcn_tasks.class_names import VOC
from dcn_tasks.config import Config
from dcn_tasks.data import published
from dcn_tasks.data.dataset import ListedDataset
from dcn_tasks.data.reading import collected, existing, first_few, listed_ids
from dcn_tasks.data.sample import Sample
from dcn_tasks.data.sbd import augmented
from dcn_tasks.data.voc_xml import sample_of
from dcn_tasks.errors import InputError
from dcn_tasks.images import image_size
from dcn_tasks.task import SEGMENTATION, task_of

CLASS_NAMES = ["background", *VOC]
NUMBERS = {name: index for index, name in enumerate(CLASS_NAMES) if index}


def read_voc(cfg: Config, image_set: str, folder: Path, *, bad: str = "stop") -> ListedDataset:
    """One or more sets as one data set.

    Args:
        image_set: YEAR_SPLIT joined by +: 2007_trainval+2012_trainval; for segmentation YEAR_SPLIT_seg, and
            2012_train_aug_seg: VOC's train and SBD's images that are not in VOC's val (10,582).
        folder: holds VOC2007 and VOC2012, itself or in VOCdevkit/ or VOCdevkitYEAR/.
        bad: "skip": images whose annotation is missing or broken are left out, and the notes say so.
    Raises: InputError for an unknown set, data that is not there, or broken annotations.
    """
    dataset = ListedDataset(f"PASCAL VOC {image_set}", CLASS_NAMES, [])
    segmentation = task_of(cfg) is SEGMENTATION
    for name in image_set.split("+"):
        year, _, split = name.partition("_")
        if not (year.isdigit() and split):
            raise InputError(
                f"PASCAL VOC: expected image sets YEAR_SPLIT joined by +, e.g. 2007_trainval, got {name!r}"
            )
        home = voc_home(folder, year)
        if segmentation:
            dataset.samples += labelled(home, name, split.removesuffix("_seg"), bad, dataset.notes)
        else:
            dataset.samples += boxed(cfg, home, name, split, bad, dataset.notes)
    return dataset


def voc_home(folder: Path, year: str) -> Path:
    """The folder VOC{year}."""
    for parent in (folder, folder / "VOCdevkit", folder / f"VOCdevkit{year}", folder / "data" / "VOCdevkit"):
        if (parent / f"VOC{year}" / "ImageSets").is_dir():
            return parent / f"VOC{year}"
    raise published.missing(folder, published.VOC, year=year)


def boxed(cfg: Config, home: Path, name: str, split: str, bad: str, notes: list[str]) -> list[Sample]:
    """The samples of a detection set."""
    dropped: list[str] = []

    def read(id: str) -> Sample:
        image = existing(home / "JPEGImages" / f"{id}.jpg", "an image")
        path = home / "Annotations" / f"{id}.xml"
        return sample_of(id, path, image, NUMBERS, original=cfg.dataset.MODE == "original", dropped=dropped)

    samples = collected(
        f"VOC {name}", listed_ids(home / "ImageSets" / "Main" / f"{split}.txt"), read, bad=bad, notes=notes
    )
    if dropped:
        notes.append(f"VOC {name}: {len(dropped)} boxes without area in the image left out: {first_few(dropped)}")
    return samples


def labelled(home: Path, name: str, split: str, bad: str, notes: list[str]) -> list[Sample]:
    """The samples of a segmentation set."""
    if split == "train_aug":
        masks = augmented(home)
    else:
        lists = [home / "ImageSets" / "Segmentation" / f"{split}.txt", home / "ImageSets" / "Main" / f"{split}_seg.txt"]
        ids = listed_ids(next((path for path in lists if path.is_file()), lists[0]))
        masks = {id: home / "SegmentationClass" / f"{id}.png" for id in ids}

    def read(id: str) -> Sample:
        image = existing(home / "JPEGImages" / f"{id}.jpg", "an image")
        width, height = image_size(image)
        return Sample(id, image, height, width, labels=existing(masks[id], "a label map"))

    return collected(f"VOC {name}", list(masks), read, bad=bad, notes=notes)
