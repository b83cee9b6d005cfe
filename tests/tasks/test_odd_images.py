"""Images that are not three planes of 8 bits, or not what they say: each a defined result or a sentence."""

import struct
import zlib

import cv2
import made_data
import numpy as np
import pytest
from PIL import Image

from dcn_tasks.config import load_config
from dcn_tasks.data import Sample, open_dataset
from dcn_tasks.errors import InputError
from dcn_tasks.images import image_size, read_image, read_label_map, to_network_input

CFG = load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem")
RAMP = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)


def test_sixteen_bits_become_their_upper_eight(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), RAMP * 80)
    assert (read_image(tmp_path / "a.png")[..., 0] == RAMP * 80 >> 8).all()


def test_alpha_is_dropped(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 4), dtype=np.uint8)
    Image.fromarray(pixels, None).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == pixels[..., :3]).all()


def test_palettes_become_colours(tmp_path):
    made_data.save_labels(tmp_path / "a.png", np.full((4, 6), 3))
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [3, 252, 7]


def test_label_maps_of_one_bit_hold_zeros_and_ones(tmp_path):
    Image.fromarray(np.eye(4, 6, dtype=bool)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "1"
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), np.eye(4, 6, dtype=np.uint8))


def turned_photo(path):
    """Stored 32x24, to be shown 24x32; a blue corner at the top left of what is stored."""
    pixels = np.full((24, 32, 3), 255, np.uint8)
    pixels[:6, :6] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    Image.fromarray(pixels).save(path, exif=exif, quality=95, subsampling=0)
    return path


def blue_corner(image):
    columns = np.nonzero(image[..., 0] < 128)[1]
    return "right" if columns.mean() > image.shape[1] / 2 else "left"


def test_exif_orientation_is_ignored_unless_only_the_turned_image_has_the_annotated_size(tmp_path):
    path = turned_photo(tmp_path / "a.jpg")
    assert read_image(path).shape == (24, 32, 3) and blue_corner(read_image(path)) == "left"
    assert blue_corner(Sample("a", path, 24, 32).read_image()) == "left"
    assert blue_corner(Sample("a", path, 32, 24).read_image()) == "right"
    with pytest.raises(InputError, match=r"a\.jpg: expected an image of 20x20 pixels, as annotated, got 32x24"):
        Sample("a", path, 20, 20).read_image()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


BOMBS = {
    "a million by a million": png(1_000_000, 1_000_000),
    "just over the limit": png(20_000, 7_000),
    "a text of a gigabyte": png(8, 8, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * (1 << 26), 9))),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.parametrize("read", [read_image, read_label_map])
def test_bombs_are_refused_by_name(tmp_path, read, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: expected"):
        read(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_file_cut_anywhere_is_refused_by_name(tmp_path, suffix, share):
    path = made_data.save_image(tmp_path / f"a{suffix}", 200, 300)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=rf"a\{suffix}: expected"):
        read_image(path)


def test_a_flipped_byte_of_a_png_is_refused(tmp_path):
    path = made_data.save_image(tmp_path / "a.png", 200, 300)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"a\.png: expected a whole image"):
        read_image(path)


def test_colours_are_no_label_map(tmp_path):
    made_data.save_image(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"one byte a pixel \(palette or grey\), got RGB"):
        read_label_map(tmp_path / "a.png")


def test_a_header_that_is_none_is_a_sentence(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"a\.jpg: expected an image"):
        image_size(tmp_path / "a.jpg")


def test_an_image_too_narrow_for_its_length_is_a_sentence():
    with pytest.raises(InputError, match="5000x1: crop it"):
        to_network_input(np.zeros((1, 5000, 3), np.uint8), CFG)


def test_an_image_that_no_anchor_stands_on_is_a_sentence():
    image = np.zeros((100, 1000, 3), np.uint8)
    cfg = load_config(CFG, SCALES=[96, 128])
    with pytest.raises(
        InputError, match=r"short side has 16 pixels left, .* got 1000x100, which becomes 128x13: crop it"
    ):
        to_network_input(image, cfg)
    assert to_network_input(image, load_config("demo/narrow_deeplab", SCALES=[96, 128]))[0].shape == (1, 3, 13, 128)


def test_modern_padding_holds_zero_and_im_info_is_the_image_alone():
    cfg = load_config(CFG, network__IMAGE_STRIDE=32, dataset__MODE="modern")
    data, info = to_network_input(np.full((60, 90, 3), 200, np.uint8), cfg)
    assert data.shape == (1, 3, 608, 928) and info.tolist() == [[600, 900, 10]]
    assert (data[:, :, 600:] == 0).all() and (data[:, :, :, 900:] == 0).all() and (data[:, :, :600, :900] > 0).all()


def test_one_bad_image_of_a_folder_does_not_stop_a_reader_that_skips(tmp_path):
    home = made_data.voc(tmp_path, "2012", "train", {})
    for name, data in (("a", None), ("b", b"nothing")):
        path = made_data.save_image(home / "JPEGImages" / f"{name}.jpg")
        made_data.save_labels(home / "SegmentationClass" / f"{name}.png", np.zeros((40, 60)))
        if data:
            path.write_bytes(data)
    (home / "ImageSets" / "Segmentation").mkdir()
    (home / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\n")
    cfg = load_config("deeplab/deeplab_resnet_v1_101_voc12_segmentation_base")
    with pytest.raises(InputError, match=r"b\.jpg"):
        open_dataset(cfg, "train", tmp_path)
    assert len(open_dataset(cfg, "train", tmp_path, bad="skip")) == 1


def test_postscript_under_another_name_is_no_image(tmp_path, monkeypatch):
    """Pillow would have Ghostscript run it."""
    run = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args: run.append(args))
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nquit\n%%EOF\n")
    for read in (read_image, read_label_map, image_size):
        with pytest.raises(InputError, match=r"photo\.jpg: expected a"):
            read(path)
    assert run == []
