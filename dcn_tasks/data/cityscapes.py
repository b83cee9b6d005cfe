"""Cityscapes' fine annotations in the official layout (original `cityscape.py`)."""

from pathlib import Path

import numpy as np

from dcn_tasks.class_names import CITYSCAPES
from dcn_tasks.config import Config
from dcn_tasks.data import published
from dcn_tasks.data.dataset import ListedDataset
from dcn_tasks.data.reading import collected
from dcn_tasks.data.sample import Sample
from dcn_tasks.errors import InputError
from dcn_tasks.images import image_size
from dcn_tasks.segmentation import IGNORED_LABEL

# label ids of training ids 0 to 18; every other id is not asked about (cityscapesScripts, labels.py)
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def training_ids() -> np.ndarray:
    """uint8 [256]: training id by label id, 255 for those without."""
    ids = np.full(256, IGNORED_LABEL, np.uint8)
    ids[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    return ids


def read_cityscapes(cfg: Config, image_set: str, folder: Path, *, bad: str = "stop") -> ListedDataset:
    """One or more splits as one data set.

    Args:
        image_set: leftImg8bit_train, leftImg8bit_val or leftImg8bit_test (which is not labelled), joined by +.
        folder: holds leftImg8bit/ and gtFine/ (dataset.annotation_prefix), itself or in cityscapes/.
        bad: as in read_voc.
    Label maps are the files of training ids where those are, else the label ids, mapped.
    """
    dataset = ListedDataset(f"Cityscapes {image_set}", list(CITYSCAPES), [])
    for name in image_set.split("+"):
        kind, _, split = name.partition("_")
        if not split:
            raise InputError(f"Cityscapes: expected image sets like leftImg8bit_train, joined by +, got {name!r}")
        root = next((each for each in (folder, folder / "cityscapes") if (each / kind / split).is_dir()), None)
        images = sorted((root or folder).glob(f"{kind}/{split}/*/*_{kind}.png"))
        if root is None or not images:
            raise published.missing(folder, published.CITYSCAPES, split=split)
        labels = root / cfg.dataset.annotation_prefix / split

        def read(image: Path, kind: str = kind, labels: Path = labels, split: str = split) -> Sample:
            id = image.name.removesuffix(f"_{kind}.png")
            stem = labels / image.parent.name / f"{id}_{cfg.dataset.annotation_prefix}"
            ready, raw = (Path(f"{stem}_{kind_of}.png") for kind_of in ("labelTrainIds", "labelIds"))
            width, height = image_size(image)
            if ready.is_file():
                return Sample(id, image, height, width, labels=ready)
            if raw.is_file():
                return Sample(id, image, height, width, labels=raw, label_ids=training_ids())
            if split == "test":
                return Sample(id, image, height, width)
            raise InputError(f"{ready}: expected a label map, or {raw.name} beside it; there is neither")

        dataset.samples += collected(f"Cityscapes {name}", images, read, bad=bad, notes=dataset.notes)
    return dataset
