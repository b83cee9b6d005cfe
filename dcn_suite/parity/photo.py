"""The one photo that every witness sees, and the boxes that training pretends are on it."""

import numpy as np


def photo_of(height: int, width: int) -> np.ndarray:
    """scikit-image's astronaut, cut to the aspect ratio of height : width; RGB uint8.

    The network's own input scaling then brings it to height x width (or to the nearest the aspect ratio allows). Where
    that is much smaller than the photo, it is shrunk to one and a half times that here.
    """
    import cv2
    from skimage import data

    image = data.astronaut()
    full_h, full_w = image.shape[:2]
    scale = min(full_h / height, full_w / width)
    cut_h, cut_w = min(full_h, round(height * scale)), min(full_w, round(width * scale))
    top, left = (full_h - cut_h) // 8, (full_w - cut_w) // 2  # the face is near the top
    cut = image[top : top + cut_h, left : left + cut_w]
    if cut_h > 3 * height:
        cut = cv2.resize(cut, (round(1.5 * width), round(1.5 * height)), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(cut)


def boxes_on(height: int, width: int, num_classes: int, seed: int, count: int = 6) -> np.ndarray:
    """[count, 5] = (x1, y1, x2, y2, class) in pixels of the photo: boxes of many sizes, classes 1 .. num_classes - 1."""
    generator = np.random.default_rng(seed)
    side = np.stack([generator.uniform(0.2, 0.6, count) * width, generator.uniform(0.2, 0.6, count) * height], axis=1)
    start = generator.uniform(0, 1, (count, 2)) * (np.array([width, height]) - side)
    boxes = np.concatenate([start, start + side - 1], axis=1).round()
    classes = 1 + np.arange(count) % (num_classes - 1)
    return np.concatenate([boxes, classes[:, None]], axis=1)


def labels_on(height: int, width: int, num_classes: int, seed: int) -> np.ndarray:
    """[height, width] uint8 labels in pixels of the photo: patches of all classes, a tenth of them without a class (255)."""
    generator = np.random.default_rng(seed)
    rows, columns = 6, 8
    patches = generator.permutation(np.arange(rows * columns) % num_classes).reshape(rows, columns)
    patches[generator.uniform(size=patches.shape) < 0.1] = 255
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    return patches[y[:, None], x[None, :]].astype(np.uint8)
