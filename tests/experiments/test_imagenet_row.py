"""The ImageNet error of a backbone: readers, the crop, and a row from files to a figure."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dcn_suite.reproduce.imagenet import classifier_of, measure
from dcn_suite.reproduce.registry import find_row
from dcn_suite.training.start import starting_weights
from dcn_tasks.config import dump, load_config
from dcn_tasks.data.imagenet import NUM_CLASSES, read_imagenet, to_classifier_input
from dcn_tasks.errors import InputError
from torch_port.models import build_network
from weights_convert import Params, save_params, to_torch

FRAMEWORKS = ("torch", pytest.param("mxnet", marks=pytest.mark.mxnet))


def pixels(seed: int, height: int = 300, width: int = 260) -> np.ndarray:
    """RGB, smooth enough that a crop beside the right one gives other features."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[:, :, ::-1])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_error_is_the_share_of_wrong_first_guesses(tmp_path, framework):
    """A classifier that knows the features of five images, and a list that has one of them wrong."""
    cfg = load_config("demo/narrow_fpn", network__pretrained=str(tmp_path / "backbone"), network__pretrained_epoch=0)
    config = tmp_path / "narrow.yaml"
    config.write_text(dump(cfg), encoding="utf-8")
    params, _ = starting_weights(cfg, 0, None, from_scratch=True)
    arg = {name: 10 * value if name.startswith("res") else value for name, value in params.arg.items()}
    network = build_network(cfg).double().eval()
    network.load_state_dict(to_torch(Params(arg, params.aux), cfg, use_test_weights=False))
    means = torch.tensor(list(cfg.network.PIXEL_MEANS)[::-1], dtype=torch.float64)[:, None, None]
    features = []
    for index in range(5):
        image = pixels(index)
        save(tmp_path / "data" / "val" / f"{index}.png", image)
        middle = cv2.resize(image, (256, 295), interpolation=cv2.INTER_LINEAR)[35 : 35 + 224, 16 : 16 + 224]
        with torch.inference_mode():
            data = torch.as_tensor(middle.transpose(2, 0, 1).copy()).double()[None] - means
            features.append(network.backbone(data).stage5[0].mean((1, 2)).numpy())
    weight, bias = np.zeros((NUM_CLASSES, len(features[0])), np.float32), np.full(NUM_CLASSES, -1e9, np.float32)
    for label, feature in enumerate(features):  # the nearest of the five is the guess
        centred = feature - np.mean(features, axis=0)
        weight[10 * label], bias[10 * label] = centred, -(centred @ np.mean(features, axis=0)) - centred @ centred / 2
    save_params(
        tmp_path / "backbone-0000.params", Params({**arg, "fc1000_weight": weight, "fc1000_bias": bias}, params.aux)
    )
    labels = [11, 10, 20, 30, 40]
    lines = [f"{index}.png {label}" for index, label in enumerate(labels)]
    (tmp_path / "data" / "val.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    setting = {"map": "res5a_relu", "classifier": "fc1000"}
    row = replace(find_row("imagenet/resnet-101-converted"), config=str(config), setting=setting)
    values, details = measure(row, framework, data=tmp_path / "data", note=str)
    assert values == {"top1_error": pytest.approx(20.0)}
    assert details == {"images": 5, "weights": "backbone-0000.params"}


def test_a_checkpoint_without_its_classifier_is_refused(tmp_path):
    path = tmp_path / "none-0000.params"
    save_params(path, Params({"fc1000_weight": np.zeros((NUM_CLASSES, 4), np.float32)}, {}))
    with pytest.raises(InputError, match="expected fc1000_weight and fc1000_bias of 1000 classes"):
        classifier_of(path, "fc1000")


@pytest.mark.parametrize("size", [(300, 260), (256, 700), (40, 30), (224, 1000)])
def test_the_crop_is_the_middle_at_256_pixels(size):
    cfg = load_config("demo/narrow_fpn")
    data = to_classifier_input(np.full((*size, 3), 200, np.uint8), cfg)
    assert data.shape == (1, 3, 224, 224)
    expected = 200 - np.asarray(cfg.network.PIXEL_MEANS, np.float32)[::-1]
    np.testing.assert_allclose(data.mean(axis=(0, 2, 3)), expected, atol=1e-3)
    ramp = np.broadcast_to(np.arange(512, dtype=np.float32)[None, :, None] / 2, (256, 512, 3)).astype(np.uint8)
    row_of_pixels = to_classifier_input(ramp, cfg)[0, 0, 0] + cfg.network.PIXEL_MEANS[2]
    np.testing.assert_allclose(row_of_pixels, ramp[0, 144:368, 0], atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (3, 301)])
def test_an_image_of_impossible_sides_is_refused_before_it_is_resized(shape, monkeypatch):
    monkeypatch.setattr(cv2, "resize", lambda *_, **__: pytest.fail("was resized"))
    with pytest.raises(InputError, match=rf"a\.png: expected .* got {shape[1]}x{shape[0]}"):
        to_classifier_input(np.zeros((*shape, 3), np.uint8), load_config("demo/narrow_fpn"), "a.png")


def test_folders_of_synsets_are_classes_in_the_order_of_their_names(tmp_path):
    for index in range(NUM_CLASSES):
        (tmp_path / "val" / f"n{index:08d}").mkdir(parents=True)
    for name in ("n00000007/b.JPEG", "n00000007/a.JPEG", "n00000999/c.JPEG"):
        (tmp_path / "val" / name).write_bytes(b"")
    found = read_imagenet(tmp_path)
    assert [path.name for path in found.files] == ["a.JPEG", "b.JPEG", "c.JPEG"] and found.labels.tolist() == [
        7,
        7,
        999,
    ]
    for path in found.files:
        path.unlink()
    with pytest.raises(InputError, match="expected images in the folders of its synsets"):
        read_imagenet(tmp_path)
    (tmp_path / "val" / "n00000000").rmdir()
    with pytest.raises(InputError, match="expected the folders of 1000 synsets, got 999"):
        read_imagenet(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there are none"),
        ("a.JPEG 1000", "line 1: expected a file's name and a class of 0 to 999"),
        ("a.JPEG 1\nb.JPEG", "line 2"),
        ("../a.JPEG 1", "line 1"),
        ("a.JPEG ²", "line 1"),
        ("a.JPEG " + "1" * 5000, "line 1"),
    ],
)
def test_a_broken_list_is_a_sentence(text, sentence, tmp_path):
    (tmp_path / "val.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_imagenet(tmp_path)


def test_images_that_are_not_there_are_asked_for(tmp_path):
    with pytest.raises(InputError, match=r"ILSVRC2012_img_val\.tar"):
        read_imagenet(tmp_path / "nowhere")
