"""Batches: the same on any number of workers and after any stop, in the original's order, and past bad images."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import made_data
import numpy as np
import pytest

from dcn_tasks.config import load_config
from dcn_tasks.data import ListedDataset, Loader, Sample, open_dataset
from dcn_tasks.data.order import epoch_order
from dcn_tasks.errors import InputError
from dcn_tasks.images import read_image
from dcn_tasks.streams import Draws

SCENES = load_config("demo/narrow_rfcn_dcn", SCALES=[64, 96], dataset__SCENES=[7, 3])


def some(loader: Loader, count: int, first: int = 1) -> list:
    updates = loader.updates(first)
    result = [next(updates) for _ in range(count)]
    updates.close()
    return result


def same(left, right) -> bool:
    """Every array of every image, bit for bit, and the streams that the network goes on with."""
    pairs = zip(left.images, right.images, strict=True)
    return (left.number, left.epoch, left.step) == (right.number, right.epoch, right.step) and all(
        a.id == b.id and a.draws == b.draws and a.batch.keys() == b.batch.keys()
        and all(a.batch[name].tobytes() == b.batch[name].tobytes() for name in a.batch)
        for a, b in pairs
    )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers):
    dataset = open_dataset(SCENES)
    alone = some(Loader(dataset, SCENES, seed=5, images_per_update=2), 12)
    together = some(Loader(dataset, SCENES, seed=5, images_per_update=2, workers=workers), 12)
    assert all(map(same, alone, together)) and alone[-1].epoch >= 1


def test_a_stopped_training_goes_on_with_the_same_batches():
    dataset = open_dataset(SCENES)
    whole = some(Loader(dataset, SCENES, seed=5), 20)
    for first in (1, 9, 15):
        assert all(map(same, whole[first - 1 :], some(Loader(dataset, SCENES, seed=5, workers=2), 21 - first, first)))


def test_another_seed_or_epoch_is_another_order():
    loader = Loader(open_dataset(SCENES), SCENES, seed=5)
    orders = [loader.order(0), loader.order(1), Loader(loader.dataset, SCENES, seed=6).order(0)]
    assert len({order.tobytes() for order in orders}) == 3


def test_processes_share_an_update_without_overlap():
    dataset = open_dataset(SCENES)
    whole = some(Loader(dataset, SCENES, images_per_update=4), 3)
    parts = [some(Loader(dataset, SCENES, images_per_update=4, part=part, parts=2), 3) for part in range(2)]
    for update, left, right in zip(whole, *parts, strict=True):
        shared = [left.images[0], right.images[0], left.images[1], right.images[1]]
        assert [image.id for image in shared] == [image.id for image in update.images]
        assert [image.draws for image in shared] == [image.draws for image in update.images]


def test_streams_of_one_image_an_update_are_numbered_like_the_update():
    assert [update.images[0].draws for update in some(Loader(open_dataset(SCENES), SCENES, seed=3), 2)] == [
        Draws(3, 1),
        Draws(3, 2),
    ]


def test_every_image_and_its_mirror_image_once_an_epoch():
    cfg = load_config(SCENES, TRAIN__FLIP=True)
    loader = Loader(open_dataset(cfg), cfg)
    assert sorted(loader.order(0).reshape(-1)) == list(range(14))
    plain, mirrored = loader.sample(2), loader.sample(2 + 7)
    assert (mirrored.read_image() == plain.read_image()[:, ::-1]).all()
    assert (mirrored.read_labels() == plain.read_labels()[:, ::-1]).all()
    width = plain.width
    assert mirrored.boxes[:, [0, 2]].tolist() == (width - 1 - plain.boxes[:, [2, 0]]).tolist()


def listed(sizes, boxes=((2, 2, 30, 30),)) -> ListedDataset:
    """Blank images of (height, width)."""
    samples = [
        Sample(str(place), np.full((*size, 3), place, np.uint8), *size, np.array(boxes, float).reshape(-1, 4),
               np.ones(len(boxes), np.int64), labels=np.zeros(size, np.uint8))
        for place, size in enumerate(sizes)
    ]  # fmt: skip
    return ListedDataset("made", ["background", "disc"], samples)


WIDE = np.array([True, False, True, True, False, True, True, False, True])


def test_original_keeps_wide_images_first_when_the_batch_divides_their_number():
    """The original's shuffle of batches slices [:-0], which is nothing."""
    order = epoch_order(9, Draws(0, 0), wide=WIDE, original=True).reshape(-1)
    assert WIDE[order].tolist() == sorted(WIDE, reverse=True)
    left_over = [epoch_order(9, Draws(seed, 0), images_per_update=2, wide=WIDE, original=True) for seed in range(20)]
    assert any(
        not WIDE[order[0]].any() for order in left_over
    )  # a batch of tall ones first: shuffled where 2 leaves one over


def test_modern_shuffles_batches_always_and_mixes_shapes_in_one_at_most():
    orders = [epoch_order(9, Draws(seed, 0), wide=WIDE, original=False).reshape(-1) for seed in range(5)]
    assert any(WIDE[order].tolist() != sorted(WIDE, reverse=True) for order in orders)
    for count in (2, 3, 4):
        rows = epoch_order(9, Draws(1, 0), images_per_update=count, wide=WIDE, original=False)
        mixed = [row for row in rows if len(set(WIDE[row])) > 1]
        assert len(rows) == 9 // count and len(mixed) <= 1 and max(Counter(rows.reshape(-1).tolist()).values()) == 1


def test_order_without_shuffle_is_the_lists():
    cfg = load_config(SCENES, TRAIN__SHUFFLE=False, TRAIN__FLIP=False)
    assert Loader(open_dataset(cfg), cfg).order(0).reshape(-1).tolist() == list(range(7))


def test_images_without_objects_are_left_out():
    dataset = listed([(40, 60)] * 2)
    dataset.samples += listed([(40, 60)], boxes=()).samples
    assert Loader(dataset, load_config(SCENES, TRAIN__FLIP=False)).updates_per_epoch == 2


def test_a_scene_without_objects_gives_its_place_to_the_next():
    dataset = open_dataset(SCENES)
    empty = [index for index in range(len(dataset)) if not len(dataset[index].boxes)]
    assert empty, "no scene of this size is without objects: choose another"
    seen = some(Loader(dataset, SCENES), 7)
    assert not {image.id for update in seen for image in update.images} & {dataset[index].id for index in empty}
    assert all(update.images[0].batch["gt_boxes"].shape[1] for update in seen)


def test_nothing_to_train_on_is_a_sentence():
    with pytest.raises(InputError, match="made: expected at least 1 images to train on, got 0"):
        Loader(listed([(40, 60)], boxes=()), SCENES)
    with pytest.raises(InputError, match="3 images an update cannot be shared by 2 processes"):
        Loader(listed([(40, 60)]), SCENES, images_per_update=3, parts=2)


def folder_with_a_bad_image(root):
    home = made_data.voc(root, "2007", "trainval", {id: [("disc", (3, 3, 40, 40), 0)] for id in "abcd"}, size=(48, 64))
    (home / "JPEGImages" / "b.jpg").write_bytes(b"nothing")
    cfg = load_config(SCENES, dataset__dataset="Folder", dataset__image_set="all", TRAIN__FLIP=False)
    return open_dataset(cfg, "train", home), cfg


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_stops_a_run_with_a_sentence(tmp_path, workers):
    dataset, cfg = folder_with_a_bad_image(tmp_path)
    with pytest.raises(InputError, match=r"b\.jpg: expected a whole image"):
        some(Loader(dataset, cfg, workers=workers), 4)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_told_to_skip_takes_the_next_image_and_remembers(tmp_path, workers, caplog):
    dataset, cfg = folder_with_a_bad_image(tmp_path)
    loader = Loader(dataset, cfg, workers=workers, bad="skip")
    assert sorted(update.images[0].id for update in some(loader, 4)) == ["a", "c", "c", "d"]
    assert list(loader.skipped) == ["b"] and "b.jpg" in loader.skipped["b"] and "b.jpg" in caplog.text
    assert all(map(same, some(loader, 6, 3), some(Loader(dataset, cfg, bad="skip"), 6, 3)))


def test_a_set_of_bad_images_ends_a_run_that_skips(tmp_path):
    dataset, cfg = folder_with_a_bad_image(tmp_path)
    for path in dataset[0].image.parent.iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="20 images in a row cannot be used"):
        some(Loader(dataset, cfg, bad="skip"), 1)


def test_crops_of_label_maps_are_drawn_from_the_images_stream():
    cfg = load_config("demo/narrow_deeplab_dcn", SCALES=[64, 96], TRAIN__ENABLE_CROP=True, TRAIN__CROP_HEIGHT=32,
                      TRAIN__CROP_WIDTH=48, dataset__SCENES=[4, 1])  # fmt: skip
    dataset = open_dataset(cfg)
    first, again = (some(Loader(dataset, cfg, workers=workers), 6) for workers in (0, 2))
    assert all(map(same, first, again))
    assert first[0].images[0].batch["data"].shape == (1, 3, 32, 48)


def test_truncated_files_are_refused_on_many_threads(tmp_path, monkeypatch):
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = made_data.save_image(tmp_path / "a.jpg", 200, 300)
    path.write_bytes(path.read_bytes()[:-2000])

    def refused(_: int) -> bool:
        try:
            read_image(path)
        except InputError:
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(refused, range(200)))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
