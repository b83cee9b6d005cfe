"""ImageNet-1K's validation images and their classes (ILSVRC 2012)."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.data import published
from dcn_tasks.data.reading import IMAGE_SUFFIXES, TEXT
from dcn_tasks.errors import InputError
from dcn_tasks.images import planes

NUM_CLASSES = 1000
SHORT_SIDE, CROP = 256, 224  # pixels: the middle of the resized image
MAX_RATIO = 100  # of the sides: a photo is far from it, and resizing multiplies it by SHORT_SIDE pixels


@dataclass(frozen=True)
class LabelledImages:
    """files: [N]. labels: [N], 0 to 999, in the order of the synsets' names."""

    files: list[Path]
    labels: np.ndarray


def read_imagenet(folder: Path) -> LabelledImages:
    """The validation images: val/SYNSET/*.JPEG, or val/*.JPEG with val.txt, lines of a file's name and its class.

    Raises: InputError where neither is there, or a line or a number of folders is another.
    """
    home = next((each for each in (folder / "val", folder) if each.is_dir()), folder)
    listed = next((each for each in (folder / "val.txt", home / "val.txt") if each.is_file()), None)
    if listed is not None:
        return of_list(listed, home)
    synsets = sorted(each for each in home.glob("n*") if each.is_dir())
    if not synsets:
        raise published.missing(folder, published.IMAGENET)
    if len(synsets) != NUM_CLASSES:
        raise InputError(f"{home}: expected the folders of {NUM_CLASSES} synsets, got {len(synsets)}")
    pairs = [
        (path, label)
        for label, synset in enumerate(synsets)
        for path in sorted(synset.iterdir())
        if path.suffix in IMAGE_SUFFIXES
    ]
    if not pairs:
        raise InputError(f"{home}: expected images in the folders of its synsets, there are none")
    return LabelledImages([path for path, _ in pairs], np.array([label for _, label in pairs], np.int64))


def of_list(path: Path, home: Path) -> LabelledImages:
    """The images of Caffe's val.txt."""
    files, labels = [], []
    for number, line in enumerate(path.read_text(encoding=TEXT, errors="replace").splitlines(), start=1):
        name, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not (name and label.isascii() and label.isdigit() and len(label) <= 3) or ".." in Path(name).parts:
            raise InputError(
                f"{path}, line {number}: expected a file's name and a class of 0 to 999, got {line[:80]!r}"
            )
        files.append(home / Path(name).relative_to(Path(name).anchor))
        labels.append(int(label))
    if not files:
        raise InputError(f"{path}: expected lines of a file's name and its class, there are none")
    return LabelledImages(files, np.array(labels, np.int64))


def to_classifier_input(image: np.ndarray, cfg: Config, source: object = "to_classifier_input") -> np.ndarray:
    """RGB uint8 [H, W, 3] -> [1, 3, 224, 224] float32: the short side to 256 pixels, the middle of it, less PIXEL_MEANS.

    Args: source: of the image, for messages. Raises: InputError for an image whose sides differ more than MAX_RATIO times.
    """
    if max(image.shape[:2]) > MAX_RATIO * min(image.shape[:2]):
        raise InputError(
            f"{source}: expected an image at most {MAX_RATIO} times as long as it is wide, got "
            f"{image.shape[1]}x{image.shape[0]}: leave it out, no validation image is like that"
        )
    scale = SHORT_SIDE / min(image.shape[:2])
    width, height = (max(SHORT_SIDE, round(scale * side)) for side in (image.shape[1], image.shape[0]))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    top, left = (height - CROP) // 2, (width - CROP) // 2
    return planes(image[top : top + CROP, left : left + CROP], cfg)[0]
