"""What every reader returns: samples by index, and what there is to know about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dcn_tasks.data.sample import Sample
from dcn_tasks.scenes import SceneSource


class Dataset(Protocol):
    """Samples by index, always the same ones; len() of them.

    name: for messages and file names. class_names: by class number; the first is the background, except Cityscapes',
        which has none. notes: sentences about what was left out (boxes without area, images that cannot be used).
    """

    name: str
    notes: list[str]

    @property
    def class_names(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def to_train_on(self, *, segmentation: bool) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the samples that have what training needs (an object, a label map), and which of them are at least as
        wide as high: [K], [K] bool."""
        ...


@dataclass
class ListedDataset:
    """A data set whose annotations are in memory."""

    name: str
    class_names: Sequence[str]
    samples: list[Sample]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def to_train_on(self, *, segmentation: bool) -> tuple[np.ndarray, np.ndarray]:
        kept = [
            index
            for index, sample in enumerate(self.samples)
            if (sample.labels is not None if segmentation else sample.trainable.any())
        ]
        wide = [self.samples[index].width >= self.samples[index].height for index in kept]
        return np.array(kept, np.intp), np.array(wide, bool)


@dataclass
class SceneDataset:
    """The first `count` generated scenes; each is drawn when it is asked for."""

    name: str
    source: SceneSource
    count: int
    notes: list[str] = field(default_factory=list)

    @property
    def class_names(self) -> list[str]:
        return ["background", *self.source.class_names]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        scene = self.source[index]
        height, width = scene.image.shape[:2]
        return Sample(f"scene {index}", scene.image, height, width, scene.boxes, scene.classes, labels=scene.labels)

    def to_train_on(self, *, segmentation: bool) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(self.count), np.full(self.count, self.source.width >= self.source.height)
