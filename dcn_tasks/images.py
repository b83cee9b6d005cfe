"""From an image file to the network's input (original `lib/utils/image.py`). Images are RGB uint8 [H, W, 3]."""

import os
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from PIL import Image, ImageFile

from dcn_tasks.config import Config
from dcn_tasks.config_ranges import MAX_PIXELS
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec


class _WholeFilesOnly:
    """Pillow refuses truncated files, whatever another library (gluoncv does) told it for the whole process; by threads."""

    def __init__(self) -> None:
        self.lock, self.users, self.before = Lock(), 0, False

    def __enter__(self) -> None:
        with self.lock:
            if self.users == 0:
                self.before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            self.users += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self.before


whole_files_only = _WholeFilesOnly()


# What Pillow may take a file for, whatever it is called: among its other formats is PostScript, which it has another program run.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF")


def read_image(path: str | os.PathLike, *, turned: bool = False) -> np.ndarray:
    """An image file as RGB uint8 [H, W, 3].

    Grey becomes three equal planes, 16 bits their upper 8, alpha is dropped, palettes become colours.
    Args: turned: obey the EXIF orientation, which the original ignores.
    Raises: InputError when the file is missing, too large, truncated or no image.
    """
    path = Path(path)
    try:
        with whole_files_only, Image.open(path, formats=FORMATS) as header:
            refuse_large(path, *header.size)
            check_whole(header)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | (0 if turned else cv2.IMREAD_IGNORE_ORIENTATION))
    except InputError:
        raise
    except Exception as error:  # readers of damaged files raise anything
        raise InputError(f"{path}: expected a whole image (JPEG, PNG ...), could not read it: {error}") from error
    if image is None:
        raise InputError(f"{path}: expected an image that OpenCV reads (JPEG, PNG ...)")
    return np.ascontiguousarray(image[..., ::-1])


def check_whole(header: Image.Image) -> None:
    """Raises: something for a truncated file; OpenCV fills the rest of it with grey and says nothing."""
    if header.format == "PNG":
        header.verify()  # checksums of all chunks, no pixels
    else:
        header.draft("RGB", (1, 1))  # of a JPEG every byte is looked at, few pixels are made
        header.load()


def refuse_large(path: Path, width: int, height: int) -> None:
    """Raises: InputError for more than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: expected an image of at most {MAX_PIXELS} pixels, got {width}x{height}")


def read_label_map(path: str | os.PathLike) -> np.ndarray:
    """A label map as uint8 [H, W]: the numbers of a palette or grey PNG, not its colours.

    Raises: InputError as read_image, and for colours in place of numbers.
    """
    path = Path(path)
    try:
        with whole_files_only, Image.open(path, formats=FORMATS) as picture:
            refuse_large(path, *picture.size)
            if picture.mode not in ("P", "L", "1"):
                raise InputError(
                    f"{path}: expected a label map of one byte a pixel (palette or grey), got {picture.mode}"
                )
            return np.asarray(picture, np.uint8)  # of one bit a pixel: 0 and 1, not the 255 of its grey
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: expected a whole label map (PNG), could not read it: {error}") from error


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(width, height) in pixels as stored, read off the file's header. Raises: InputError when it is no image."""
    try:
        with Image.open(path, formats=FORMATS) as header:
            return header.size
    except Exception as error:
        raise InputError(f"{path}: expected an image (JPEG, PNG ...), could not read it: {error}") from error


def resize_scale(height: int, width: int, target: int, longest: int) -> float:
    """The factor that brings the short side to `target` px, unless the long side would pass `longest` px."""
    scale = target / min(height, width)
    if np.round(scale * max(height, width)) > longest:
        scale = longest / max(height, width)
    return scale


def to_network_input(
    image: np.ndarray, cfg: Config, *, sides: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Resize, pad, subtract means, to planes.

    Args: image: RGB uint8 [H, W, 3]; cfg: SCALES, network.PIXEL_MEANS (B, G, R), IMAGE_STRIDE and dataset.MODE are read.
        sides: short side and limit of the long side in place of SCALES.
    Returns: data [1, 3, h, w] float32, RGB planes of value - mean; im_info [1, 3] float32 = (h, w, scale).
    Mode original: padding is added before the mean is subtracted, so it holds -mean, and im_info counts it; modern: it
    holds 0, and im_info is the size of the image alone.
    Raises: InputError for what is no image, or so narrow that no anchor of the network stands on it.
    """
    scaled, scale = resized(image, *(sides or cfg.SCALES[0]))
    padded, info = planes(scaled, cfg)
    spec = NetworkSpec.from_config(cfg)
    cell = 1 if spec.family == "deeplab" else min(spec.feature_strides)
    if min(info) < cell:
        raise InputError(
            f"to_network_input: expected an image whose short side has {cell} pixels left, a cell of the map that anchors stand "
            f"on, got {image.shape[1]}x{image.shape[0]}, which becomes {info[1]}x{info[0]}: crop it"
        )
    return padded, np.array([[*info, scale]], np.float32)


def resized(image: np.ndarray, target: int, longest: int) -> tuple[np.ndarray, float]:
    """RGB uint8 [H, W, 3] at the network's resolution, and the factor. Raises: InputError for an image too narrow for it."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"to_network_input: expected RGB uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    scale = resize_scale(image.shape[0], image.shape[1], target, longest)
    if round(min(image.shape[:2]) * scale) < 1:
        raise InputError(
            f"to_network_input: expected an image whose short side has a pixel left at {longest} pixels of the long one, got "
            f"{image.shape[1]}x{image.shape[0]}: crop it"
        )
    if scale != 1:
        image = cv2.resize(image, None, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return image, scale


def planes(
    image: np.ndarray, cfg: Config, window: tuple[slice, slice] | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Padded to IMAGE_STRIDE and less the means: [1, 3, h, w] float32; and the height and width that im_info tells.

    Args: window: rows and columns of the padded image; None: all of it.
    """
    stride = cfg.network.IMAGE_STRIDE or 1
    inner = image.shape[0], image.shape[1]
    height, width = (-(-side // stride) * stride for side in inner)
    rows, columns = window or (slice(0, height), slice(0, width))
    seen = image[rows, columns].transpose(2, 0, 1)
    means = np.asarray(cfg.network.PIXEL_MEANS, np.float64)[::-1, None, None]
    original = cfg.dataset.MODE == "original"
    data = np.empty((1, 3, rows.stop - rows.start, columns.stop - columns.start), np.float32)
    data[0] = -means if original else 0
    np.subtract(seen, means, out=data[0, :, : seen.shape[1], : seen.shape[2]], casting="same_kind")
    return data, (height, width) if original else inner
