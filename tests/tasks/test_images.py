"""From an image file to a training example."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ImageFile

from dcn_tasks.batch import feature_size, scaled_boxes, training_batch
from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.images import read_image, resize_scale, to_network_input
from dcn_tasks.streams import Draws

VOC = load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem")
NARROW = load_config("demo/narrow_rfcn_dcn")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height))


def test_file_is_read_as_rgb(tmp_path: Path) -> None:
    image = picture(40, 60)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_grey_file_becomes_three_equal_planes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(20, 30)[..., 0])
    image = read_image(tmp_path / "a.png")
    assert image.shape == (20, 30, 3) and (image == image[..., :1]).all()


def missing(path: Path) -> None:
    pass


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("no image")


def truncated(path: Path) -> None:
    cv2.imwrite(str(path), picture(200, 300))
    path.write_bytes(path.read_bytes()[:2000])


def folder(path: Path) -> None:
    path.mkdir()


def test_truncated_file_is_refused_even_where_another_library_allows_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    truncated(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="truncated"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("make", [missing, empty, text, truncated, folder])
def test_what_is_no_whole_image_is_refused_by_name(tmp_path: Path, make) -> None:
    path = tmp_path / "a.jpg"
    make(path)
    with pytest.raises(InputError, match=r"a\.jpg: expected a"):
        read_image(path)


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(300, 400, 2.0), (400, 300, 2.0), (375, 500, 1.6), (300, 600, 1000 / 600), (1200, 1200, 0.5), (600, 1000, 1.0)],
)
def test_short_side_is_600_unless_the_long_one_would_pass_1000(height: int, width: int, scale: float) -> None:
    assert resize_scale(height, width, 600, 1000) == pytest.approx(scale)


def test_planes_are_rgb_minus_the_mean_given_as_bgr() -> None:
    image = np.broadcast_to(np.array([10, 20, 30], np.uint8), (600, 800, 3)).copy()
    data, im_info = to_network_input(image, VOC)
    assert data.shape == (1, 3, 600, 800) and data.dtype == np.float32
    np.testing.assert_array_equal(im_info, [[600, 800, 1]])
    np.testing.assert_allclose(data[0, :, 5, 7], [10 - 123.15, 20 - 115.9, 30 - 103.06], rtol=1e-6)


def test_padding_holds_minus_the_mean_and_counts_into_im_info() -> None:
    cfg = load_config(VOC, network__IMAGE_STRIDE=32)
    data, im_info = to_network_input(picture(600, 790), cfg)
    assert data.shape == (1, 3, 608, 800)
    np.testing.assert_array_equal(im_info, [[608, 800, 1]])
    np.testing.assert_allclose(data[0, :, 607, 799], [-123.15, -115.9, -103.06], rtol=1e-6)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)],
    ids=["grey", "float", "empty", "alpha"],
)  # fmt: skip
def test_array_that_is_no_rgb_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected RGB uint8"):
        to_network_input(image, VOC)


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(600, 1000, 38, 63), (192, 256, 12, 16), (600, 800, 38, 50)])  # fmt: skip
def test_map_has_one_cell_per_16_pixels_rounded_up(height: int, width: int, rows: int, columns: int) -> None:
    assert feature_size(height, width) == (rows, columns)


@pytest.mark.mxnet
@pytest.mark.parametrize("side", [64, 97, 111, 129, 130, 131, 600, 601])
def test_feature_size_is_that_of_mxnet_strides_and_ceil_pooling(side: int) -> None:
    import mxnet as mx

    x = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(7, 7), stride=(2, 2), pad=(3, 3), num_filter=1)
    x = mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full")
    for _ in range(2):
        x = mx.sym.Convolution(x, kernel=(1, 1), stride=(2, 2), num_filter=1)
    _, (shape,), _ = x.infer_shape(data=(1, 3, side, side + 50))
    assert feature_size(side, side + 50) == shape[2:]


def test_objects_are_scaled_rounded_and_clipped_into_the_input() -> None:
    boxes = scaled_boxes(np.array([[-3, 10.2, 399, 299]]), np.array([600, 800, 2.0]))
    np.testing.assert_array_equal(boxes, [[0, 20, 798, 598]])
    np.testing.assert_array_equal(
        scaled_boxes(np.array([[0, 0, 500, 500]]), np.array([600, 800, 2.0]))[0, 2:], [799, 599]
    )


def test_training_example_fits_the_training_graph() -> None:
    boxes = np.array([[10, 20, 90, 80, 2], [100, 60, 180, 150, 4]], np.float32)
    batch = training_batch(picture(192, 256), boxes, NARROW, Draws(0))
    assert {name: value.shape for name, value in batch.items()} == {
        "data": (1, 3, 192, 256),
        "im_info": (1, 3),
        "gt_boxes": (1, 2, 5),
        "label": (1, 6 * 12 * 16),
        "bbox_target": (1, 24, 12, 16),
        "bbox_weight": (1, 24, 12, 16),
    }
    assert all(value.dtype == np.float32 for value in batch.values())
    np.testing.assert_array_equal(batch["gt_boxes"][0], boxes)
    assert (batch["label"] == 1).any() and (batch["label"] != -1).sum() == NARROW.TRAIN.RPN_BATCH_SIZE


def test_image_without_objects_gives_background_only() -> None:
    batch = training_batch(picture(192, 256), np.zeros((0, 5)), NARROW, Draws(0))
    assert batch["gt_boxes"].shape == (1, 0, 5)
    assert (batch["label"] == 0).sum() == NARROW.TRAIN.RPN_BATCH_SIZE
