"""The door to all readers."""

from pathlib import Path

from dcn_tasks.config import Config
from dcn_tasks.data.cityscapes import read_cityscapes
from dcn_tasks.data.coco import read_coco
from dcn_tasks.data.dataset import Dataset, SceneDataset
from dcn_tasks.data.folder import read_folder
from dcn_tasks.data.voc import read_voc
from dcn_tasks.errors import InputError
from dcn_tasks.scenes import scene_source


def read_scenes(cfg: Config, image_set: str, folder: Path, *, bad: str = "stop") -> Dataset:
    """Generated scenes, as many as dataset.SCENES says; the folder is not looked at."""
    source = scene_source(cfg, image_set)
    return SceneDataset(f"Scenes {image_set}", source, cfg.dataset.SCENES[image_set != "train"])


READERS = {
    "PascalVOC": read_voc,
    "coco": read_coco,
    "CityScape": read_cityscapes,
    "Folder": read_folder,
    "Scenes": read_scenes,
}


def open_dataset(
    cfg: Config,
    split: str = "train",
    folder: Path | str | None = None,
    *,
    image_set: str | None = None,
    bad: str = "stop",
) -> Dataset:
    """The images and annotations that a configuration names.

    Args:
        cfg: the group `dataset` is read.
        split: "train": dataset.image_set; "test": dataset.test_image_set. image_set: in place of either; sets joined by +.
        folder: in place of dataset.dataset_path.
        bad: "stop": the first annotation that is missing or broken ends it with a sentence; "skip": its image is left out
            and the data set's notes say so.
    Raises: InputError when the data is not there (with the layout wanted and where it is published) or broken.
    """
    settings = cfg.dataset
    wanted = {
        "dataset.dataset": (settings.dataset, READERS),
        "dataset.MODE": (settings.MODE, ("original", "modern")),
        "split": (split, ("train", "test")),
        "bad": (bad, ("stop", "skip")),
    }
    for name, (value, known) in wanted.items():
        if value not in known:
            raise InputError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    if image_set is None:
        image_set = settings.image_set if split == "train" else settings.test_image_set
    dataset = READERS[settings.dataset](cfg, image_set, Path(folder or settings.dataset_path), bad=bad)
    if len(dataset.class_names) != settings.NUM_CLASSES:
        raise InputError(
            f"{dataset.name}: dataset.NUM_CLASSES: expected {len(dataset.class_names)}, its number of classes (with the "
            f"background, if it has one), got {settings.NUM_CLASSES}"
        )
    return dataset
