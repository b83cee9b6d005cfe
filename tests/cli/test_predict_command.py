"""`dcn predict`: the same objects from every kind of file in either framework, drawn where they are; or one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tolerances import PREDICTED_PX, PREDICTED_SCORE

from dcn_suite.cli.convert import convert_to_torch
from dcn_suite.cli.main import main
from dcn_suite.pictures import class_colour
from dcn_tasks.config import Config, dump, load_config
from weights_convert import Params, save_params, to_mxnet

SMALL = {"SCALES": [96, 128], "TEST__RPN_POST_NMS_TOP_N": 24, "network__UNITS": [1, 1, 1, 1]}
DETECTION, SEGMENTATION = "demo/narrow_rfcn_dcn", "demo/narrow_deeplab_dcn"


def small(name: str, folder: Path) -> tuple[Config, str]:
    """A configuration of a network that runs in milliseconds, and its file."""
    cfg = load_config(name, **{key: value for key, value in SMALL.items() if name == DETECTION or "RPN" not in key})
    path = folder / f"{Path(name).name}.yaml"
    path.write_text(dump(cfg), encoding="utf-8")
    return cfg, str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with an image, a detector's config and .params, and the same of a segmenter."""
    from torch_port.models import build_network

    monkeypatch.chdir(tmp_path)
    for name in (DETECTION, SEGMENTATION):
        cfg, _ = small(name, tmp_path)
        torch.manual_seed(0)
        network = build_network(cfg)
        scores = network.head.cls_maps if name == DETECTION else network.head.score
        torch.nn.init.normal_(scores.weight, std=0.05)
        save_params(tmp_path / f"{Path(name).name}.params", to_mxnet(network.state_dict(), cfg))
    pixels = np.random.default_rng(2).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((128, 96), Image.Resampling.BILINEAR).save(tmp_path / "photo.png")
    return tmp_path


def predict(*words: str, config: str = "narrow_rfcn_dcn.yaml", weights: str = "narrow_rfcn_dcn.params") -> int:
    return main(["predict", config, "--weights", weights, "--out", "found", *words])


def facts(name: str = "photo") -> dict:
    return json.loads(Path("found", f"{name}.json").read_text())


def assert_same_detections(results: list[list[dict]]) -> None:
    """Several objects, the same in every list, to the tolerances of predictions."""
    first = results[0]
    assert len(first) >= 5
    for other in results[1:]:
        assert [each["class"] for each in other] == [each["class"] for each in first]
        for key, tolerance in (("box", PREDICTED_PX), ("score", PREDICTED_SCORE)):
            ours, theirs = ([each[key] for each in result] for result in (other, first))
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def sentence(capsys) -> str:
    err = capsys.readouterr().err.strip()
    last = err.splitlines()[-1] if "does not fit" not in err else err
    assert "dcn predict: " in err and "Traceback" not in err
    return last


def test_boxes_are_listed_and_drawn_where_they_are(folder, capsys):
    assert predict("photo.png", "--threshold", "0.3") == 0
    result = facts()
    assert (result["height"], result["width"], result["framework"]) == (96, 128, "torch")
    assert len(result["detections"]) >= 3 and all(each["score"] >= 0.3 for each in result["detections"])
    best = result["detections"][0]
    assert best["name"] == ["disc", "star", "ring", "cross"][best["class"] - 1]
    drawn = np.asarray(Image.open("found/photo.png"))
    scale = drawn.shape[0] // 96
    assert scale == 4  # a small image is drawn larger
    x1, _, x2, y2 = (round(side * scale) for side in best["box"])
    assert tuple(drawn[min(y2, 383), (x1 + x2) // 2]) == class_colour(best["class"])
    assert "photo.png" in capsys.readouterr().out
    assert sorted(path.name for path in Path("found").iterdir()) == ["photo.json", "photo.png"]


def test_options_reach_the_detector_and_are_recorded(folder):
    assert predict("photo.png", "--threshold", "0") == 0
    plain = facts()
    assert plain["test"]["scales"] == [[96, 128]] and plain["test"]["soft_nms"] is False
    many = ("--scales", "96x128,112x160", "--flip", "--box-average", "--soft-nms")
    assert predict("photo.png", "--threshold", "0", *many) == 0
    test = facts()["test"]
    assert test["scales"] == [[96, 128], [112, 160]]
    assert (test["flip"], test["box_average"], test["soft_nms"]) == (True, True, "gaussian")
    assert facts()["detections"] != plain["detections"]
    assert predict("photo.png", "--threshold", "1") == 0
    assert facts()["detections"] == []


def test_json_on_stdout_is_the_files(folder, capsys):
    assert predict("photo.png", "--json") == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert {key: printed[key] for key in facts()} == facts()
    assert printed["files"] == ["found/photo.png", "found/photo.json"]


def test_labels_are_written_as_pixels_and_as_colours(folder):
    assert predict("photo.png", config="narrow_deeplab_dcn.yaml", weights="narrow_deeplab_dcn.params") == 0
    labels = np.asarray(Image.open("found/photo_labels.png"))
    assert labels.shape == (96, 128) and labels.dtype == np.uint8
    shares = {each["class"]: each["pixels"] for each in facts()["classes"]}
    assert shares == {
        int(index): int(count) for index, count in zip(*np.unique(labels, return_counts=True), strict=True)
    }
    assert len(shares) >= 2
    coloured = np.asarray(Image.open("found/photo_labels.png").convert("RGB"))
    assert {tuple(colour) for colour in coloured.reshape(-1, 3)} <= {
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
    }


@pytest.mark.mxnet
@pytest.mark.parametrize("many", [(), ("--scales", "96x128,112x160", "--flip", "--box-average", "--soft-nms")])
def test_every_file_in_either_framework_gives_the_same_boxes(folder, many):
    convert_to_torch(Path("narrow_rfcn_dcn.params"), "narrow_rfcn_dcn.yaml", Path("converted"), False)
    results = []
    for weights in ("narrow_rfcn_dcn.params", "converted/model.safetensors", "converted"):
        for framework in ("torch", "mxnet"):
            assert predict("photo.png", "--framework", framework, "--threshold", "0.05", *many, weights=weights) == 0
            results.append(facts()["detections"])
    assert_same_detections(results)


@pytest.mark.mxnet
@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("demo/narrow_rcnn_dcn", "head.cls_score"),
        ("demo/narrow_rcnn_dcnv2", "head.cls_score"),
        ("demo/narrow_fpn_dcn", "head.cls_score"),
        ("demo/narrow_aligned_rfcn_dcn", "head.cls_maps"),
        ("demo/narrow_class_aware_rpn_dcn", "rpn.cls_score"),
    ],
)
def test_every_system_finds_the_same_boxes_from_params_and_from_a_converted_folder(tmp_path, monkeypatch, name, scores):
    from torch_port.models import build_network

    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (96, 128, 3), dtype=np.uint8)).save("photo.png")
    cfg = load_config(name, **SMALL)
    Path("small.yaml").write_text(dump(cfg), encoding="utf-8")
    torch.manual_seed(0)
    network = build_network(cfg)
    torch.nn.init.normal_(network.get_submodule(scores).weight, std=0.05)
    save_params("small.params", to_mxnet(network.state_dict(), cfg))
    convert_to_torch(Path("small.params"), "small.yaml", Path("converted"), False)
    results = []
    for weights, framework in (("small.params", "torch"), ("small.params", "mxnet"), ("converted", "mxnet")):
        words = ("photo.png", "--framework", framework, "--threshold", "0.05")
        assert predict(*words, config="small.yaml", weights=weights) == 0
        results.append(facts()["detections"])
    assert_same_detections(results)


@pytest.mark.mxnet
def test_either_framework_labels_the_same_pixels(folder):
    maps = []
    for framework in ("torch", "mxnet"):
        assert (
            predict(
                "photo.png",
                "--framework",
                framework,
                config="narrow_deeplab_dcn.yaml",
                weights="narrow_deeplab_dcn.params",
            )
            == 0
        )
        maps.append(np.asarray(Image.open("found/photo_labels.png")))
    assert (maps[0] == maps[1]).mean() > 0.999


def test_broken_image_is_one_sentence_and_leaves_what_was_done(folder, capsys):
    data = Path("photo.png").read_bytes()
    Path("half.png").write_bytes(data[: len(data) // 2])
    assert predict("photo.png", "half.png") == 2
    assert "half.png: expected a whole image" in sentence(capsys)
    assert sorted(path.name for path in Path("found").iterdir()) == ["photo.json", "photo.png"]


def test_broken_images_are_left_out_where_that_is_asked_for(folder, capsys):
    data = Path("photo.png").read_bytes()
    Path("half.png").write_bytes(data[: len(data) // 2])
    assert predict("half.png", "photo.png", "--skip-bad") == 0
    printed = capsys.readouterr()
    assert "left out: half.png: expected a whole image" in printed.err and "half.png" not in printed.out
    assert sorted(path.name for path in Path("found").iterdir()) == ["photo.json", "photo.png"]
    assert predict("half.png", "--skip-bad") == 1
    Image.fromarray(np.zeros((1, 5000, 3), np.uint8)).save("thread.png")
    assert predict("thread.png", "nowhere.png", "photo.png", "--skip-bad") == 0
    said = capsys.readouterr().err
    assert "left out: thread.png: to_network_input: " in said and "left out: nowhere.png: " in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("missing.png",), "missing.png: expected an image, there is no such file"),
        (("photo.png", "--threshold", "2"), "--threshold: expected a score from 0 to 1"),
        (("photo.png", "--scales", "480"), "--scales: expected SHORTxLONG"),
        (("photo.png", "--scales", "0x0"), "TEST_SCALES: expected"),
        (("photo.png", "--device", "cuda:99"), "--device: expected cpu"),
        (("photo.png", "--device", "nearest"), "--device: expected cpu, cuda or cuda:N, got 'nearest'"),
        (
            ("photo.png", "--device", "cuda", "--framework", "mxnet"),
            "--device: MXNet computes on the CPU here, got cuda",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_before_anything_is_written(folder, capsys, words, complaint):
    assert predict(*words) == 2
    assert complaint in sentence(capsys)
    assert not Path("found").exists()


def test_weights_of_another_network_are_refused(folder, capsys):
    assert predict("photo.png", weights="narrow_deeplab_dcn.params") == 2
    assert "does not fit the network" in sentence(capsys)
    assert predict("photo.png", weights="nowhere.params") == 2
    assert "nowhere.params" in sentence(capsys)
    convert_to_torch(Path("narrow_rfcn_dcn.params"), "narrow_rfcn_dcn.yaml", Path("converted"), False)
    assert predict("photo.png", config="narrow_deeplab_dcn.yaml", weights="converted") == 2
    assert "model.safetensors: " in sentence(capsys)


def test_backbone_alone_detects_nothing_and_says_so(folder, capsys):
    from weights_convert import load_params, rules_for

    params = load_params("narrow_rfcn_dcn.params")
    entries = rules_for(load_config("narrow_rfcn_dcn.yaml")).entries
    arg = {name: array for name, array in params.arg.items() if entries[name].in_backbone_file}
    save_params("backbone.params", Params(arg, dict(params.aux)))
    assert predict("photo.png", weights="backbone.params") == 2
    assert "it holds a backbone" in sentence(capsys)


def test_nothing_that_came_in_is_overwritten(folder, capsys):
    Path("found").mkdir()
    Path("photo.png").rename("found/photo.png")
    assert predict("found/photo.png") == 2
    assert "would be overwritten" in sentence(capsys)
    Path("other").mkdir()
    Image.open("found/photo.png").save("photo.png")
    Image.open("found/photo.png").save("other/photo.jpg")
    assert predict("photo.png", "other/photo.jpg", "--json") == 2
    assert "two folders" in sentence(capsys)


def test_looks_of_detection_are_refused_for_label_maps(folder, capsys):
    assert predict("photo.png", "--flip", config="narrow_deeplab_dcn.yaml", weights="narrow_deeplab_dcn.params") == 2
    assert "labels pixels" in sentence(capsys)


def test_photographs_are_turned_as_their_exif_says(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    with Image.open("photo.png") as photo:
        photo.save("phone.jpg", exif=exif)
    assert predict("phone.jpg") == 0
    with Image.open("found/phone.png") as picture:
        assert picture.width < picture.height


@pytest.mark.parametrize("name", [DETECTION, SEGMENTATION])
def test_normalisations_are_folded(folder, name):
    from dcn_suite.checkpoints import Checkpoint
    from dcn_suite.predictors import build_model
    from torch_port.layers import BatchNorm
    from torch_port.models import build_network

    cfg, _ = small(name, folder)
    model = build_model(cfg, Checkpoint(folder, build_network(cfg).state_dict()), "torch", "cpu")
    assert not any(isinstance(module, BatchNorm) for module in model.network.modules())
