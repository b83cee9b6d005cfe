"""MNIST's and CIFAR-10's files: real copies, made ones, fetched ones, and what is refused."""

import gzip
import hashlib
import io
import struct
import tarfile
import zlib

import cv2
import numpy as np
import pytest

from dcn_tasks.data import cifar, fetch, mnist, read_cifar10, read_mnist
from dcn_tasks.errors import InputError


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.arange(5, dtype=np.uint8)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "mnist"])
def test_idx_files_are_read_packed_or_not(tmp_path, packed, place):
    (tmp_path / place).mkdir(exist_ok=True)
    for name, array in (("t10k-images-idx3-ubyte", IMAGES), ("t10k-labels-idx1-ubyte", LABELS)):
        data = gzip.compress(idx(array)) if packed else idx(array)
        (tmp_path / place / (name + ".gz" * packed)).write_bytes(data)
    images, labels = read_mnist(tmp_path, "test")
    assert (images == IMAGES).all() and labels.tolist() == [0, 1, 2, 3, 4] and labels.dtype == np.int64


def test_real_mnist(data_folder):
    """The counts of the ten digits among the published training labels."""
    images, labels = read_mnist(data_folder, "train")
    assert images.shape == (60000, 28, 28) and labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert len(read_mnist(data_folder, "test")[0]) == 10000


BROKEN = {
    "cut short": (idx(IMAGES)[:-1], "expected 3920 values"),
    "too long": (idx(IMAGES) + b"x", "got 3921"),
    "floats": (b"\0\0\x0d\x03" + idx(IMAGES)[4:], "its header says 00000d03"),
    "empty": (b"", "its header says nothing"),
    "sizes beyond memory": (b"\0\0\x08\x04" + b"\xff" * 16, "expected"),
    "labels for images": (idx(LABELS), "one label an image"),
    "255 axes": (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "at most 4 axes, its header says 000008ff"),
    "other sides": (idx(IMAGES[:, :14]), r"28x28 pixels .* got \[5, 14, 28\]"),
}


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_idx_file_is_a_sentence(tmp_path, data, message):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(data)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS))
    with pytest.raises(InputError, match=message):
        read_mnist(tmp_path, "test")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, LABELS + 196, "labels-idx1-ubyte: expected labels 0 to 9, got 200"),
        (IMAGES[:0], LABELS[:0], "one label an image"),
    ],
)
def test_files_of_something_else_are_not_mnists(tmp_path, images, labels, message):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(InputError, match=message):
        read_mnist(tmp_path, "test")


def test_a_broken_gzip_file_is_a_sentence(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES))[:-9])
    with pytest.raises(InputError, match=r"ubyte\.gz: expected a whole idx file"):
        read_mnist(tmp_path, "test")


def records(count: int = 4) -> bytes:
    rng = np.random.default_rng(1)
    return b"".join(bytes([k % 10]) + rng.integers(0, 256, 3072, dtype=np.uint8).tobytes() for k in range(count))


def test_binary_batches_are_planes_of_red_green_and_blue(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(records())
    images, labels, pixels = read_cifar10(tmp_path, "test")
    assert images.shape == (4, 32, 32, 3) and labels.tolist() == [0, 1, 2, 3] and pixels == "lossless"
    second = records()[3073:]
    assert images[1, 0, 0].tolist() == [second[1], second[1 + 1024], second[1 + 2048]]
    assert images[1, 1, 0, 0] == second[1 + 32]


def archive(path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))


def test_the_published_archive_is_read_without_unpacking(tmp_path):
    archive(tmp_path / cifar.ARCHIVE, {"cifar-10-batches-bin/test_batch.bin": records(), "../evil": b"x"})
    assert read_cifar10(tmp_path, "test")[1].tolist() == [0, 1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == [cifar.ARCHIVE]
    with pytest.raises(InputError, match=r"data_batch_1\.bin"):
        read_cifar10(tmp_path, "train")


def test_a_jpeg_copy_says_so(tmp_path):
    blue = np.zeros((32, 32, 3), np.uint8)
    blue[..., 0] = 250  # OpenCV's order
    data = cv2.imencode(".jpg", blue)[1].tobytes()
    archive(
        tmp_path / cifar.JPEG_ARCHIVE, {"test/ship/0000.jpg": data, "test/dog/0001.jpg": data, "train/dog/0.jpg": data}
    )
    images, labels, pixels = read_cifar10(tmp_path, "test")
    assert labels.tolist() == [5, 8] and pixels == "JPEG q75 copy"
    assert images[0, 5, 5, 2] > 200 > 50 > images[0, 5, 5, 0]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("test_batch.bin", records()[:-1], "expected records of 3073 bytes"),
        ("test_batch.bin", b"\x0a" + records()[1:], "expected labels 0 to 9, got 10"),
        (cifar.ARCHIVE, b"nothing", "expected a whole .tar.gz"),
    ],
)
def test_broken_cifar_files_are_a_sentence(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_cifar10(tmp_path, "test")


def tar(*members: tuple[str, bytes, bytes], claimed: int | None = None) -> bytes:
    """gzip-packed; members: name, type, data. claimed: the size in their headers, in place of the data's own."""
    blocks = []
    for name, kind, data in members:
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, len(data) if claimed is None else claimed
        blocks += [info.tobuf(tarfile.GNU_FORMAT), data, bytes(-len(data) % 512)]
    return gzip.compress(b"".join([*blocks, bytes(1024)]), 1)


def jpeg(suffix: str = ".jpg", side: int = 32) -> bytes:
    return cv2.imencode(suffix, np.zeros((side, side, 3), np.uint8))[1].tobytes()


def torn(data: bytes) -> bytes:
    """The same bytes packed, up to a block near their end whose kind deflate has not."""
    packer, content = zlib.compressobj(1, wbits=31), gzip.decompress(data)
    return packer.compress(content[:-4096]) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 64


NAME = "test/dog/0.jpg"
PLAIN = tar((NAME, b"0", jpeg()))
LARGE, DAMAGED, FOREIGN = "unpacks to at most", "expected a whole", "expected a JPEG of 32x32 pixels"
HOSTILE = {
    "one member beyond the budget": (tar((NAME, b"0", b""), claimed=1 << 29), LARGE),
    "many members beyond it": (tar(*((f"test/dog/{k}.jpg", b"0", bytes(1 << 16)) for k in range(20))), LARGE),
    "a long name beyond it": (tar((NAME, b"L", b""), claimed=1 << 40), LARGE),
    "a PAX header beyond it": (tar((NAME, b"x", b""), claimed=1 << 33), LARGE),
    "a size below zero": (tar((NAME, b"0", b""), claimed=-512), LARGE),
    "a size beyond its end": (tar((NAME, b"0", jpeg()), claimed=1 << 18), DAMAGED),
    "no block of a tar file": (gzip.compress(b"x" * 1024), DAMAGED),
    "no deflated stream any more": (torn(tar((NAME, b"0", bytes(range(256)) * 2400))), DAMAGED),
    "a file cut short": (PLAIN[:-30], DAMAGED),
    "no image": (tar((NAME, b"5", b"")), "got none"),
    "a member without pixels": (tar((NAME, b"0", b"")), FOREIGN),
    "a PNG of another name": (tar((NAME, b"0", jpeg(".png"))), FOREIGN),
    "a picture cut short": (tar((NAME, b"0", jpeg()[:60])), FOREIGN),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_is_a_sentence(tmp_path, monkeypatch, data, message):
    monkeypatch.setattr(cifar, "MAX_UNPACKED", 1 << 20)
    (tmp_path / cifar.JPEG_ARCHIVE).write_bytes(data)
    with pytest.raises(InputError, match=rf"{cifar.JPEG_ARCHIVE}: .*{message}"):
        read_cifar10(tmp_path, "test")


def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    (tmp_path / cifar.JPEG_ARCHIVE).write_bytes(tar((NAME, b"0", jpeg(side=64))))
    monkeypatch.setattr(cifar.cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(InputError, match="expected a JPEG of 32x32 pixels"):
        read_cifar10(tmp_path, "test")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_with_extended_headers_before_them_are_read(tmp_path, form):
    with tarfile.open(tmp_path / cifar.JPEG_ARCHIVE, "w:gz", format=form) as out:
        for name, kind, data in (("test", b"5", b""), ("x" * 300, b"0", b"y"), (NAME, b"0", jpeg())):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), 1.5  # PAX keeps fractions in a header of their own
            out.addfile(info, io.BytesIO(data))
    assert read_cifar10(tmp_path, "test")[1].tolist() == [5]


def test_real_cifar_copy_agrees_with_its_lossless_subset(data_folder):
    """Both show the same images: as JPEG to some noise, 761 of the test set."""
    images, labels, pixels = read_cifar10(data_folder, "test")
    assert pixels == "JPEG q75 copy" and np.bincount(labels).tolist() == [1000] * 10
    with np.load(data_folder / "cifar10" / "cifar10_lossless_subset.npz") as subset:
        exact, kind = subset["x_test"], subset["y_test"]
    for label in range(10):
        mine, theirs = images[labels == label], exact[kind == label]
        noise = np.abs(mine[: len(theirs)].astype(int) - theirs).mean()
        assert noise < 12 < np.abs(mine[1 : len(theirs) + 1].astype(int) - theirs).mean()


class Answer(io.BytesIO):
    """What urlopen returns."""


@pytest.fixture
def server(monkeypatch):
    """Addresses and what they give; no network."""
    pages: dict[str, bytes] = {}

    def urlopen(url: str, timeout: float):
        if url not in pages:
            raise fetch.urllib.error.URLError("no route")
        return Answer(pages[url])

    monkeypatch.setattr(fetch.urllib.request, "urlopen", urlopen)
    return pages


def test_a_missing_file_is_fetched_once_and_checked(tmp_path, server):
    data = b"the published file"
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    server["https://x/a.gz"] = data
    for _ in range(2):
        path = fetch.found_or_fetched("a.gz", [tmp_path / "new"], "https://x/a.gz", md5, len(data))
        assert path.read_bytes() == data
        server.clear()


@pytest.mark.parametrize("data", [b"another file of it", b"short", b"the published file and more"])
def test_another_file_is_refused_and_nothing_is_left(tmp_path, server, data):
    server["https://x/a.gz"] = data
    md5 = hashlib.md5(b"the published file", usedforsecurity=False).hexdigest()
    with pytest.raises(InputError, match="it is not the published file"):
        fetch.found_or_fetched("a.gz", [tmp_path], "https://x/a.gz", md5, 18)
    assert not list(tmp_path.iterdir())


def test_without_a_network_the_sentence_says_what_to_do(tmp_path, server):
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: .*could not be fetched.*--data"):
        read_mnist(tmp_path, "train")
    with pytest.raises(InputError, match=r"cifar-10-binary\.tar\.gz: .*--data"):
        read_cifar10(tmp_path, "train")


@pytest.mark.parametrize("read", [read_mnist, read_cifar10])
def test_an_unknown_split_is_a_sentence(tmp_path, read):
    with pytest.raises(InputError, match="expected split train or test, got 'val'"):
        read(tmp_path, "val")


def test_pinned_checksums_are_those_of_the_real_files(data_folder):
    for name, md5, size in mnist.FILES.values():
        data = (data_folder / "mnist" / name).read_bytes()
        assert (hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data)) == (md5, size)
