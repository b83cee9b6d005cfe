"""The door to all readers."""

from collections.abc import Callable
from pathlib import Path

from dcn_tasks.config import Config
from dcn_tasks.data.dataset import Dataset, SceneDataset
from dcn_tasks.errors import InputError
from dcn_tasks.scenes import scene_source

Reader = Callable[[Config, str, Path], Dataset]


def scenes(cfg: Config, image_set: str, folder: Path, *, seed: int = 0) -> Dataset:
    """Generated scenes; the folder is not looked at."""
    counts = dict(zip(("train", "held_out"), cfg.dataset.SCENES, strict=True))
    source = scene_source(cfg, image_set, seed=seed)
    return SceneDataset(f"Scenes {image_set}", source, counts[image_set])


READERS: dict[str, Reader] = {"Scenes": scenes}


def open_dataset(cfg: Config, image_set: str | None = None, folder: Path | str | None = None) -> Dataset:
    """The images and annotations that a configuration names.

    Args:
        cfg: the group `dataset` is read.
        image_set: sets joined by +; "train": dataset.image_set, "test": dataset.test_image_set, None: the former.
        folder: in place of dataset.dataset_path.
    Raises: InputError when the data is not there (with the layout wanted and where it is published) or broken.
    """
    of_config = {None: cfg.dataset.image_set, "train": cfg.dataset.image_set, "test": cfg.dataset.test_image_set}
    reader = READERS.get(cfg.dataset.dataset)
    if reader is None:
        raise InputError(f"dataset.dataset: expected one of {', '.join(READERS)}, got {cfg.dataset.dataset!r}")
    return reader(cfg, of_config.get(image_set, image_set), Path(folder or cfg.dataset.dataset_path))
