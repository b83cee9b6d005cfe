"""Generated scenes: shapes that differ in form, not in colour, deformed, pasted on photographs that ship with scikit-image.

A scene is a function of (seed, index) and of the photographs alone, so every run and both frameworks see the same pixels.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dcn_tasks.boxes import bbox_overlaps
from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "ihc.png", "retina.jpg", "hubble_deep_field.jpg")
MAX_PHOTO_SIDE = 720  # pixels
OUTLINE_POINTS = 96


@dataclass(frozen=True)
class Scene:
    """image: RGB uint8 [H, W, 3]; boxes: [G, 4] pixels, far edge inclusive; classes: [G], 1-based.
    labels: uint8 [H, W], the class that covers most of each pixel, 0 where none does."""

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    labels: np.ndarray

    @property
    def gt_boxes(self) -> np.ndarray:
        """[G, 5] = (x1, y1, x2, y2, class), float32, as training takes it."""
        return np.concatenate([self.boxes, self.classes[:, None]], axis=1).astype(np.float32)


def disc(angle: np.ndarray) -> np.ndarray:
    """Radius of the outline at each angle, in [0, 1]."""
    return np.full_like(angle, 0.8)


def star(angle: np.ndarray) -> np.ndarray:
    """Five narrow points."""
    phase = np.abs((angle * 5 / (2 * np.pi)) % 1 - 0.5) * 2
    return 0.34 + 0.66 * phase**1.5


def cross(angle: np.ndarray) -> np.ndarray:
    """Four square arms, a third as wide as long."""
    along = np.maximum(np.abs(np.cos(angle)), np.abs(np.sin(angle)))
    across = np.minimum(np.abs(np.cos(angle)), np.abs(np.sin(angle)))
    return np.minimum(1 / along, 0.34 / np.maximum(across, 1e-9))


FORMS = {"disc": disc, "star": star, "ring": disc, "cross": cross}
HOLES = {"ring": 0.55}  # radius of the hole, of the outline's


@lru_cache(maxsize=1)
def photographs() -> tuple[np.ndarray, ...]:
    """RGB photographs read from the installed scikit-image."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise InputError(
            "scenes: the photographs come from scikit-image, which is not installed: pip install scikit-image"
        )
    folder = Path(package.origin).parent / "data"
    found = [folder / name for name in PHOTOS if (folder / name).is_file()]
    return tuple(shrunk(np.asarray(Image.open(path).convert("RGB"))) for path in found)


def shrunk(photo: np.ndarray) -> np.ndarray:
    """The photograph, halved until its long side is at most MAX_PHOTO_SIDE: crops of it are resized in every scene."""
    while max(photo.shape) > MAX_PHOTO_SIDE:
        photo = cv2.resize(photo, None, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return photo


class SceneSource:
    """An endless, indexable series of scenes.

    Args:
        seed: >= 0; two seeds share no scene. height, width: pixels.
        class_names: names out of FORMS; class k is the k-th, 1-based.
        max_objects: 1 to this many objects a scene. min_side, max_side: of the undeformed shape, pixels.
    Raises: InputError for an unknown form.
    """

    def __init__(
        self,
        seed: int,
        height: int,
        width: int,
        class_names: tuple[str, ...] = tuple(FORMS),
        *,
        max_objects: int = 4,
        min_side: int = 40,
        max_side: int = 96,
    ):
        if unknown := [name for name in class_names if name not in FORMS]:
            raise InputError(f"scenes: expected forms out of {', '.join(FORMS)}, got {', '.join(unknown)}")
        self.seed, self.height, self.width, self.class_names = seed, height, width, tuple(class_names)
        self.max_objects, self.min_side, self.max_side = max_objects, min_side, max_side

    def __getitem__(self, index: int) -> Scene:
        rng = Draws(self.seed, index).generator("scene")
        image = self.background(rng)
        boxes: list[np.ndarray] = []
        classes: list[int] = []
        labels = np.zeros(image.shape[:2], np.uint8)
        for _ in range(int(rng.integers(1, self.max_objects + 1))):
            kind = int(rng.integers(len(self.class_names)))
            mask = object_mask(self.class_names[kind], rng, int(rng.integers(self.min_side, self.max_side + 1)))
            corner = self.free_corner(rng, mask.shape, boxes)
            if corner is None:
                continue
            y, x = corner
            paint(image[y : y + mask.shape[0], x : x + mask.shape[1]], mask, rng)
            labels[y : y + mask.shape[0], x : x + mask.shape[1]][mask >= 0.5] = kind + 1
            boxes.append(np.array([x, y, x + mask.shape[1] - 1, y + mask.shape[0] - 1], np.float64))
            classes.append(kind + 1)
        return Scene(image, np.array(boxes, np.float64).reshape(-1, 4), np.array(classes, np.int64), labels)

    def background(self, rng: np.random.Generator) -> np.ndarray:
        """A crop of a photograph, resized, maybe mirrored."""
        photos = photographs()
        photo = photos[int(rng.integers(len(photos)))]
        limit = min(photo.shape[0] / self.height, photo.shape[1] / self.width)
        zoom = limit * rng.uniform(0.4, 1.0)
        height, width = int(self.height * zoom), int(self.width * zoom)
        y = int(rng.integers(photo.shape[0] - height + 1))
        x = int(rng.integers(photo.shape[1] - width + 1))
        method = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
        crop = cv2.resize(photo[y : y + height, x : x + width], (self.width, self.height), interpolation=method)
        return np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop

    def free_corner(
        self, rng: np.random.Generator, shape: tuple[int, ...], boxes: list[np.ndarray]
    ) -> tuple[int, int] | None:
        """(y, x) where a mask of this shape covers little of the boxes placed so far; None after 20 tries."""
        height, width = shape[:2]
        for _ in range(20):
            y = int(rng.integers(max(1, self.height - height + 1)))
            x = int(rng.integers(max(1, self.width - width + 1)))
            box = np.array([[x, y, x + width - 1, y + height - 1]], np.float64)
            fits = y + height <= self.height and x + width <= self.width
            if fits and (not boxes or bbox_overlaps(box, np.array(boxes)).max() < 0.05):
                return y, x
        return None


def object_mask(name: str, rng: np.random.Generator, side: int) -> np.ndarray:
    """Coverage in [0, 1] of one deformed shape, cropped to its extent: rotated, stretched, sheared, bent."""
    angle = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    outer = FORMS[name](angle)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * outer[:, None]
    rings = [points] + ([points * HOLES[name]] if name in HOLES else [])
    turn, shear = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
    stretch = np.exp(rng.uniform(-0.3, 0.3))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine = np.array([[stretch, shear], [0, 1 / stretch]]) @ rotation
    bend, wave = rng.uniform(-0.22, 0.22, (2, 2)), rng.uniform(1.2, 2.2, (2, 2))
    phase = rng.uniform(0, 2 * np.pi, (2, 2))
    bent = []
    for ring in rings:
        ring = ring @ affine.T
        shift_x = bend[0, 0] * np.sin(wave[0, 0] * ring[:, 1] + phase[0, 0])
        shift_y = bend[1, 0] * np.sin(wave[1, 0] * ring[:, 0] + phase[1, 0])
        bent.append(ring + np.stack([shift_x, shift_y], axis=1))
    low, high = bent[0].min(axis=0), bent[0].max(axis=0)
    scale = side / (high - low).max()
    size = np.maximum(np.ceil((high - low) * scale).astype(int), 8)
    fine = 4  # drawn at four times the size, then averaged: soft edges
    mask = np.zeros((size[1] * fine, size[0] * fine), np.uint8)
    cv2.fillPoly(mask, [np.round((ring - low) * scale * fine).astype(np.int32) for ring in bent], (255,))
    return cv2.resize(mask, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def paint(region: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Fill the shape into a view of the image, in place: one random colour, lit from one side, with a little texture."""
    height, width = mask.shape
    colour = rng.uniform(20, 235, 3)
    while np.abs(colour - region.reshape(-1, 3).mean(axis=0)).max() < 60:  # not lost in front of its background
        colour = rng.uniform(20, 235, 3)
    light = np.linspace(-1, 1, width)[None, :, None] * rng.uniform(-25, 25)
    light = light + np.linspace(-1, 1, height)[:, None, None] * rng.uniform(-25, 25)
    grain = rng.normal(0, 8, (height, width, 1))
    filled = np.clip(colour + light + grain, 0, 255)
    region[:] = np.round(region * (1 - mask[..., None]) + filled * mask[..., None]).astype(np.uint8)


def scene_source(cfg: Config, image_set: str, *, seed: int = 0) -> SceneSource:
    """The scenes of a configuration whose dataset is Scenes.

    Args: image_set: "train" or "held_out"; the two share no scene.
    """
    if cfg.dataset.dataset != "Scenes":
        raise InputError(f"scenes: expected dataset.dataset Scenes, got {cfg.dataset.dataset}")
    if image_set not in ("train", "held_out"):
        raise InputError(f"scenes: expected image set train or held_out, got {image_set!r}")
    height, width = cfg.SCALES[0]
    return SceneSource(2 * seed + (image_set == "held_out"), height, width, tuple(cfg.dataset.CLASS_NAMES))
