"""Images turned and shifted at random, for the comparison of convolutions under rotation and translation."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from dcn_tasks.streams import Draws


@dataclass(frozen=True)
class Distortion:
    """Every image is turned about its centre and shifted by amounts of its own, drawn uniformly.

    Args: degrees: largest angle either way. pixels: largest shift either way, along each axis; not whole pixels.
    """

    degrees: float = 0.0
    pixels: float = 0.0

    def __call__(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """uint8 [N, H, W] or [N, H, W, C] -> the same; bilinear, what comes from outside the image is 0."""
        if not self.degrees and not self.pixels:
            return images
        height, width = images.shape[1:3]
        angles = generator.uniform(-self.degrees, self.degrees, len(images))
        shifts = generator.uniform(-self.pixels, self.pixels, (len(images), 2))
        centre = ((width - 1) / 2, (height - 1) / 2)
        distorted = np.empty_like(images)
        for place, image in enumerate(images):
            matrix = np.asarray(cv2.getRotationMatrix2D(centre, angles[place], 1.0), np.float64)
            matrix[:, 2] += shifts[place]
            warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
            distorted[place] = warped.reshape(image.shape)
        return distorted


@dataclass(frozen=True)
class Normalisation:
    """(value - mean) / std over a training set's pixels, one pair for every channel."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray) -> "Normalisation":
        """Of uint8 [N, H, W] or [N, H, W, C]."""
        channels = images.reshape(len(images), -1, 1 if images.ndim == 3 else images.shape[3])
        return cls(channels.mean((0, 1), dtype=np.float64), channels.std((0, 1), dtype=np.float64))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W] or [N, H, W, C] -> float32 [N, C, H, W], as both networks take it."""
        planes = images[..., None] if images.ndim == 3 else images
        values = (planes - self.mean.astype(np.float32)) / self.std.astype(np.float32)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def image_batches(
    images: np.ndarray,
    labels: np.ndarray,
    distortion: Distortion,
    normalisation: Normalisation,
    *,
    batch_size: int,
    seed: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Training batches without end, epoch by epoch: float32 [B, C, H, W] and int64 [B].

    Epoch e shuffles by site "order" of Draws(seed, e) and distorts every image anew by its site "distortion"; what is left
    over after the last whole batch of an epoch is left out of it.
    """
    epoch = 0
    while True:
        draws = Draws(seed, epoch)
        order = draws.generator("order").permutation(len(images))
        distorted = distortion(images, draws.generator("distortion"))
        for first in range(0, len(images) - batch_size + 1, batch_size):
            chosen = order[first : first + batch_size]
            yield normalisation(distorted[chosen]), labels[chosen]
        epoch += 1
