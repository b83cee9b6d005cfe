"""Drawing what a person looks at: boxes, scores, sampling points. RGB uint8 in, RGB uint8 out."""

import base64
import io
import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcn_tasks.detections import Detections
from dcn_tasks.files import atomic_path

PALETTE = [(230, 60, 50), (40, 120, 230), (20, 160, 80), (240, 160, 20), (150, 70, 200), (0, 170, 180), (220, 80, 160)]
INK = (20, 20, 20)
LEGEND_GAP, LEGEND_LINE = 8, 22  # px


def class_colour(index: int) -> tuple[int, int, int]:
    return PALETTE[(index - 1) % len(PALETTE)]


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """[H, W, 3] -> [H*scale, W*scale, 3], so that thin lines stay thin on small scenes."""
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.LANCZOS))


def draw_detections(
    image: np.ndarray, found: Detections, class_names: Sequence[str], *, threshold: float = 0.5, scale: int = 1
) -> np.ndarray:
    """The image with every detection of at least `threshold` as a box with its class and score.

    Args: class_names: name of class 0 (background), 1, ...; scale: whole-number enlargement of the picture.
    """
    canvas = Image.fromarray(enlarge(image, scale) if scale > 1 else image.copy())
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=13)
    for box, score, index in reversed(list(zip(found.boxes, found.scores, found.classes, strict=True))):
        if score < threshold:  # the best one last, on top
            continue
        draw_labelled_box(
            draw, font, np.asarray(box) * scale, f"{class_names[int(index)]} {score:.2f}", class_colour(int(index))
        )
    return np.asarray(canvas)


def draw_labelled_box(
    draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, box: np.ndarray, label: str, colour: tuple[int, int, int]
) -> None:
    x1, y1, x2, y2 = (float(v) for v in box)
    draw.rectangle([x1, y1, max(x1, x2), max(y1, y2)], outline=colour, width=2)
    left, top, right, bottom = draw.textbbox((x1 + 3, max(0.0, y1 - 17)), label, font=font)
    draw.rectangle([left - 3, top - 2, right + 3, bottom + 2], fill=colour)
    draw.text((x1 + 3, max(0.0, y1 - 17)), label, fill="white", font=font)


def draw_points(
    image: np.ndarray, points: np.ndarray, regular: np.ndarray, centre: tuple[float, float], *, scale: int = 1
) -> np.ndarray:
    """The image with learnt sampling points (red), the regular grid they left (blue rings) and the output pixel (green).

    Args: points: [N, 2] (x, y) in image pixels; regular: [M, 2] the same with zero offsets; centre: (x, y).
    """
    canvas = Image.fromarray(enlarge(image, scale) if scale > 1 else image.copy())
    draw = ImageDraw.Draw(canvas)
    for x, y in np.asarray(regular) * scale:
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], outline=(40, 120, 230), width=2)
    for x, y in np.asarray(points) * scale:
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=(230, 60, 50), outline="white")
    x, y = (v * scale for v in centre)
    draw.rectangle([x - 5, y - 5, x + 5, y + 5], fill=(30, 200, 90), outline="white")
    return np.asarray(canvas)


def draw_parts(image: np.ndarray, roi: np.ndarray, parts: np.ndarray, *, scale: int = 1) -> np.ndarray:
    """The image with one RoI (yellow) and its bins where deformable RoI pooling moved them (red)."""
    canvas = Image.fromarray(enlarge(image, scale) if scale > 1 else image.copy())
    draw = ImageDraw.Draw(canvas)
    for box in np.asarray(parts) * scale:
        draw.rectangle([float(v) for v in box], outline=(230, 60, 50), width=1)
    draw.rectangle([float(v) * scale for v in roi], outline=(250, 210, 40), width=3)
    return np.asarray(canvas)


def draw_labels(image: np.ndarray, labels: np.ndarray, *, weight: float = 0.55) -> np.ndarray:
    """The image [H, W, 3] under the colours of a label map [h, w], enlarged to it by the nearest pixel; class 0 is grey."""
    colours = np.array([(110, 110, 110), *(class_colour(index) for index in range(1, 256))], np.float32)
    rows = np.arange(image.shape[0]) * labels.shape[0] // image.shape[0]
    columns = np.arange(image.shape[1]) * labels.shape[1] // image.shape[1]
    painted = colours[labels[rows[:, None], columns[None, :]]]
    return np.round((1 - weight) * image + weight * painted).astype(np.uint8)


def draw_named_labels(
    image: np.ndarray,
    labels: np.ndarray,
    names: Mapping[int, str],
    colours: np.ndarray,
    *,
    opacity: float = 0.6,
    scale: int = 1,
) -> np.ndarray:
    """The image under the colours of its labels, and a legend below.

    Args:
        labels: [H, W]. names: of the labels to explain, in the legend's order. colours: RGB uint8 [256, 3] by label.
        scale: whole-number enlargement of the picture.
    """
    if scale > 1:
        image, labels = enlarge(image, scale), labels.repeat(scale, axis=0).repeat(scale, axis=1)
    blended = (image * (1 - opacity) + colours[labels] * opacity).astype(np.uint8)
    return np.concatenate([blended, legend(names, colours, image.shape[1])])


def legend(names: Mapping[int, str], colours: np.ndarray, width: int) -> np.ndarray:
    """[H, width, 3] white, with a patch of colour before every name, in as many lines as it takes."""
    font = ImageFont.load_default(size=13)
    places, x, y = [], LEGEND_GAP, LEGEND_GAP
    for index, name in names.items():
        room = 22 + int(font.getlength(name)) + 2 * LEGEND_GAP
        if x > LEGEND_GAP and x + room > width:
            x, y = LEGEND_GAP, y + LEGEND_LINE
        places.append((x, y, index, name))
        x += room
    canvas = Image.new("RGB", (width, y + LEGEND_LINE), "white")
    draw = ImageDraw.Draw(canvas)
    for x, y, index, name in places:
        draw.rectangle([x, y, x + 15, y + 15], fill=tuple(int(v) for v in colours[index]), outline=INK)
        draw.text((x + 21, y - 1), name, fill=INK, font=font)
    return np.asarray(canvas)


def beside(*images: np.ndarray, titles: Sequence[str] = (), gap: int = 8) -> np.ndarray:
    """Images of one height side by side on white, each under its title."""
    head = 22 if titles else 0
    height = max(image.shape[0] for image in images) + head
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=14)
    left = 0
    for index, image in enumerate(images):
        canvas.paste(Image.fromarray(image), (left, head))
        if titles:
            draw.text((left + 2, 3), titles[index], fill=INK, font=font)
        left += image.shape[1] + gap
    return np.asarray(canvas)


def save_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an RGB picture, whole or not at all."""
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def save_indexed_png(path: str | os.PathLike, labels: np.ndarray, colours: np.ndarray) -> None:
    """Write a label map [H, W] uint8 as the PNG that VOC and Cityscapes tools read: pixels are labels, colours a palette."""
    picture = Image.fromarray(labels)  # grey; with a palette, mode P
    picture.putpalette(colours.reshape(-1).tolist())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def data_uri(image: np.ndarray, *, quality: int | None = None) -> str:
    """The picture as a data: URI for a self-contained page; PNG, or JPEG where a quality (1-95) is given."""
    buffer = io.BytesIO()
    if quality is None:
        Image.fromarray(image).save(buffer, format="PNG")
    else:
        Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    kind = "png" if quality is None else "jpeg"
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()
