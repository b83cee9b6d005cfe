"""One image of a data set as it is annotated, and as it is read."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dcn_tasks.data.sbd import read_sbd_labels
from dcn_tasks.errors import InputError
from dcn_tasks.images import read_image, read_label_map


@dataclass(frozen=True)
class Example:
    """A sample in memory, as `task_of(cfg).batch` takes it.

    image: RGB uint8 [H, W, 3]. gt_boxes: float32 [G, 5] = (x1, y1, x2, y2, class >= 1), pixels, far edge inclusive.
    labels: uint8 [H, W], 255 where nobody is asked; None without a label map.
    """

    image: np.ndarray
    gt_boxes: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Sample:
    """One image and its annotation; nothing decoded yet.

    Args:
        id: unique in its data set. image: file, or RGB uint8 [H, W, 3]. height, width: pixels, as annotated.
        boxes: [G, 4] float64 pixels from 0, far edge inclusive. classes: [G], 1-based.
        difficult, crowd: [G] bool, None: no object is; such objects are not trained on.
        labels: file of the label map, or integers [H, W]; None: none.
        label_ids: uint8 [256], label in training by label in the file; None: the same.
        mirrored: whether reading mirrors image and labels; boxes are those of the mirrored image already.
    """

    id: str
    image: Path | np.ndarray
    height: int
    width: int
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    difficult: np.ndarray | None = None
    crowd: np.ndarray | None = None
    labels: Path | np.ndarray | None = None
    label_ids: np.ndarray | None = None
    mirrored: bool = False

    @property
    def trainable(self) -> np.ndarray:
        """[G] bool: objects to train on."""
        keep = np.ones(len(self.classes), bool)
        for flags in (self.difficult, self.crowd):
            if flags is not None:
                keep &= ~flags
        return keep

    def mirror(self) -> "Sample":
        """The same image seen in a mirror: x1' = width - x2 - 1, x2' = width - x1 - 1."""
        boxes = self.boxes.copy()
        boxes[:, [0, 2]] = self.width - self.boxes[:, [2, 0]] - 1
        return replace(self, boxes=boxes, mirrored=not self.mirrored)

    def read_image(self) -> np.ndarray:
        """RGB uint8 [H, W, 3]. Raises: InputError for a file that is broken or not of the annotated size.

        The EXIF orientation is ignored, as in the original, unless only the turned image has the annotated size.
        """
        if isinstance(self.image, Path):
            image = read_image(self.image)
            if image.shape[:2] == (self.width, self.height) != (self.height, self.width):
                image = read_image(self.image, turned=True)
        else:
            image = self.image
        self._check(image.shape[:2], self.image, "an image")
        return np.ascontiguousarray(image[:, ::-1]) if self.mirrored else image

    def read_labels(self) -> np.ndarray | None:
        """uint8 [H, W] of training labels, None without a label map. Raises: as read_image."""
        if self.labels is None:
            return None
        labels = self.labels if isinstance(self.labels, np.ndarray) else label_file(self.labels)
        self._check(labels.shape, self.labels, "a label map")
        if self.label_ids is not None:
            labels = self.label_ids[labels]
        return np.ascontiguousarray(labels[:, ::-1]) if self.mirrored else labels

    def read(self) -> Example:
        """Image, the boxes to train on, labels. Raises: as read_image."""
        keep = self.trainable
        table = np.concatenate([self.boxes[keep], self.classes[keep, None]], axis=1)
        return Example(self.read_image(), table.astype(np.float32), self.read_labels())

    def _check(self, size: tuple[int, ...], source: Path | np.ndarray, what: str) -> None:
        if tuple(size) != (self.height, self.width):
            name = source if isinstance(source, Path) else self.id
            raise InputError(
                f"{name}: expected {what} of {self.width}x{self.height} pixels, as annotated, got {size[1]}x{size[0]}: was "
                "it resized or turned after it was annotated?"
            )


def label_file(path: Path) -> np.ndarray:
    """A label map uint8 [H, W]: an image, or SBD's .mat."""
    return read_sbd_labels(path) if path.suffix == ".mat" else read_label_map(path)
