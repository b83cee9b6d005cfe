"""Generated scenes: deterministic, well-formed, and told apart by form alone."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from dcn_tasks.boxes import bbox_overlaps
from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.scenes import FORMS, PHOTOS, SceneSource, object_mask, photographs, scene_source

COUNT = 60
NARROW = load_config("demo/narrow_rfcn_dcn")


@pytest.fixture(scope="module")
def scenes() -> list:
    source = SceneSource(0, 192, 256)
    return [source[index] for index in range(COUNT)]


def test_all_photographs_ship_with_scikit_image() -> None:
    assert len(photographs()) == len(PHOTOS)
    assert all(photo.ndim == 3 and photo.shape[2] == 3 and photo.dtype == np.uint8 for photo in photographs())


def test_scene_depends_on_seed_and_index_alone(scenes: list) -> None:
    again = SceneSource(0, 192, 256)[7]
    np.testing.assert_array_equal(again.image, scenes[7].image)
    np.testing.assert_array_equal(again.gt_boxes, scenes[7].gt_boxes)
    pictures = {scene.image.tobytes() for scene in [*scenes, SceneSource(1, 192, 256)[7]]}
    assert len(pictures) == COUNT + 1


def test_another_process_draws_the_same_pixels(scenes: list) -> None:
    code = (
        "import hashlib; from dcn_tasks.scenes import SceneSource;"
        "print(hashlib.sha256(SceneSource(0, 192, 256)[3].image.tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == hashlib.sha256(scenes[3].image.tobytes()).hexdigest()


def test_boxes_lie_in_the_image_and_barely_meet(scenes: list) -> None:
    for scene in scenes:
        assert scene.image.shape == (192, 256, 3) and scene.image.dtype == np.uint8
        assert 1 <= len(scene.boxes) == len(scene.classes) <= 4
        assert scene.boxes.min() >= 0 and scene.boxes[:, 2].max() <= 255 and scene.boxes[:, 3].max() <= 191
        sides = scene.boxes[:, 2:] - scene.boxes[:, :2] + 1
        assert sides.max() <= 97 and sides.max(axis=1).min() >= 39
        overlaps = bbox_overlaps(scene.boxes, scene.boxes)
        assert np.triu(overlaps, 1).max() < 0.05


def test_every_class_comes_often(scenes: list) -> None:
    counts = np.bincount(np.concatenate([scene.classes for scene in scenes]), minlength=5)
    assert counts[0] == 0 and counts[1:].min() > 0.5 * counts[1:].mean()


@pytest.mark.parametrize("name", FORMS)
def test_box_touches_the_shape_on_all_four_sides(name: str) -> None:
    for seed in range(20):
        mask = object_mask(name, np.random.default_rng(seed), 64)
        edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[1], mask[-2], mask[:, 1], mask[:, -2])
        touched = [max(edges[side].max(), edges[side + 4].max()) for side in range(4)]
        assert min(touched) > 0.1
        assert mask.min() >= 0 and mask.max() <= 1


def test_forms_differ_in_how_much_of_their_box_they_fill() -> None:
    fill = {
        name: np.mean([object_mask(name, np.random.default_rng(seed), 64).mean() for seed in range(40)])
        for name in FORMS
    }
    assert fill["disc"] > fill["ring"] + 0.15 and fill["cross"] > fill["star"] + 0.05


def test_colour_does_not_tell_the_class() -> None:
    source = SceneSource(5, 192, 256, max_objects=1)
    colours: dict[int, list] = {}
    for index in range(240):
        scene = source[index]
        x1, y1, x2, y2 = scene.boxes[0].astype(int)
        patch = scene.image[y1 : y2 + 1, x1 : x2 + 1].reshape(-1, 3)
        colours.setdefault(int(scene.classes[0]), []).append(patch.mean(axis=0))
    means = np.array([np.mean(colours[index], axis=0) for index in sorted(colours)])
    spread = np.std(np.concatenate(list(colours.values())), axis=0)
    # about 60 patches a class: means scatter by spread / 8; four of those between any two
    assert (np.ptp(means, axis=0) < spread * 4 / 8 * np.sqrt(2)).all()


def test_training_and_held_out_scenes_differ() -> None:
    train, held_out = scene_source(NARROW, "train"), scene_source(NARROW, "held_out")
    assert train.class_names == ("disc", "star", "ring", "cross") and train[0].image.shape == (192, 256, 3)
    assert (train[0].image != held_out[0].image).any()


@pytest.mark.parametrize(
    ("config", "image_set", "sentence"),
    [
        ("rfcn/rfcn_coco_demo", "train", "dataset Scenes, got coco"),
        ("demo/narrow_rfcn_dcn", "test", "train or held_out"),
    ],
)
def test_other_data_set_or_image_set_is_refused(config: str, image_set: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        scene_source(load_config(config), image_set)


def test_unknown_form_is_refused() -> None:
    with pytest.raises(InputError, match="expected forms out of disc, star, ring, cross, got blob"):
        SceneSource(0, 192, 256, ("disc", "blob"))
