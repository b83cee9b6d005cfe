"""The additional masks of SBD (Hariharan et al. 2011), in its own MATLAB files or as PNG files."""

from pathlib import Path

import numpy as np

from dcn_tasks.data import published
from dcn_tasks.data.mat_file import read_field
from dcn_tasks.data.reading import listed_ids
from dcn_tasks.errors import InputError


def augmented(home: Path) -> dict[str, Path]:
    """Label map by image id: VOC's own for its train set, SBD's for its other images that are not in VOC's val.

    Args: home: VOC2012; SBD is looked for in it and beside it.
    """
    split = home / "ImageSets" / "Segmentation"
    held_out = set(listed_ids(split / "val.txt"))
    masks = {id: home / "SegmentationClass" / f"{id}.png" for id in listed_ids(split / "train.txt")}
    ready = home / "SegmentationClassAug"
    if ready.is_dir():
        extra = {path.stem: path for path in sorted(ready.glob("*.png"))}
    else:
        folder = sbd_home(home)
        ids = sorted({id for name in ("train", "val") for id in listed_ids(folder / f"{name}.txt")})
        extra = {id: folder / "cls" / f"{id}.mat" for id in ids}
    return masks | {id: path for id, path in extra.items() if id not in masks and id not in held_out}


def sbd_home(home: Path) -> Path:
    for parent in (home, home.parent, home.parent.parent):
        for name in ("SBD", "sbd", "benchmark_RELEASE/dataset", "SBD/dataset", "SBD/benchmark_RELEASE/dataset"):
            if (parent / name / "cls").is_dir():
                return parent / name
    raise published.missing(home.parent / "SBD", published.SBD)


def read_sbd_labels(path: Path) -> np.ndarray:
    """uint8 [H, W] of a .mat file: its GTcls.Segmentation; SBD has no void pixels. Raises: InputError for another file."""
    try:
        labels = read_field(path, "GTcls", "Segmentation")
        if labels.ndim != 2:
            raise ValueError(f"of shape {labels.shape}")
        with np.errstate(invalid="ignore"):  # what is no number at all
            whole = (labels == labels.astype(np.uint8)).all()
        if not whole:
            raise ValueError("labels that are no whole numbers of a byte")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a mask of SBD (GTcls.Segmentation), could not read it: {error}") from error
    return np.asarray(labels, np.uint8)
