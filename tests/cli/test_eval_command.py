"""`dcn eval`: the same numbers from one process and from several, in either framework; COCO's result file; sentences."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerances import SCORES_PERCENT

from dcn_suite.cli.main import main
from dcn_tasks.config import dump, load_config
from tests.tasks import made_data
from weights_convert import save_params, to_mxnet

SMALL = {"SCALES": [96, 128], "network__UNITS": [1, 1, 1, 1], "dataset__SCENES": [4, 5]}
# an untrained network meets an object now and then where it says many boxes
MANY_BOXES = {"TEST__RPN_NMS_THRESH": 0.9, "TEST__NMS": 0.8, "TEST__max_per_image": 1000, "TEST__RPN_MIN_SIZE": 4}
CONFIGS = {"detection": "demo/narrow_rfcn_dcn", "segmentation": "demo/narrow_deeplab_dcn"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small networks with weights that find something, and their configurations."""
    from torch_port.models import build_network

    home = tmp_path_factory.mktemp("eval")
    for task, name in CONFIGS.items():
        more = MANY_BOXES if task == "detection" else {}
        cfg = load_config(name, **SMALL, **more)
        (home / f"{task}.yaml").write_text(dump(cfg), encoding="utf-8")
        torch.manual_seed(0)
        network = build_network(cfg)
        scores = network.head.cls_maps if task == "detection" else network.head.score
        torch.nn.init.normal_(scores.weight, std=0.05)
        save_params(home / f"{task}.params", to_mxnet(network.state_dict(), cfg))
    return home


def evaluate(folder: Path, capsys, task: str, *words: str) -> dict:
    assert (
        main(["eval", str(folder / f"{task}.yaml"), "--weights", str(folder / f"{task}.params"), "--json", *words]) == 0
    )
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("framework", ["torch", pytest.param("mxnet", marks=pytest.mark.mxnet)])
def test_several_processes_give_the_number_of_one(framework, folder, capsys):
    one = evaluate(folder, capsys, "detection", "--framework", framework)
    assert one["images"] == 5 and 0 < one["scores"]["mAP@0.5 (area)"] < 100
    assert evaluate(folder, capsys, "detection", "--framework", framework, "--processes", "2") == one


def test_several_processes_give_the_number_of_one_for_label_maps(folder, capsys):
    one = evaluate(folder, capsys, "segmentation")
    assert 0 < one["scores"]["mIoU"] < 100
    assert evaluate(folder, capsys, "segmentation", "--processes", "2") == one


@pytest.mark.mxnet
@pytest.mark.parametrize("task", CONFIGS)
def test_both_frameworks_give_the_same_scores(folder, capsys, task):
    ours, theirs = (evaluate(folder, capsys, task, "--framework", name)["scores"] for name in ("torch", "mxnet"))
    assert ours == pytest.approx(theirs, abs=SCORES_PERCENT, nan_ok=True)


def test_the_result_is_written_and_a_limit_holds(folder, capsys, tmp_path):
    shown = evaluate(folder, capsys, "detection", "--limit", "2", "--coco", "--out", str(tmp_path / "r.json"))
    assert shown == json.loads((tmp_path / "r.json").read_text())
    assert shown["images"] == 2 and set(shown["scores"]) >= {"AP", "AP50", "ARl"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--processes", "0"], "--processes: expected at least 1, got 0"),
        (["--image-set", "nowhere"], "expected image set train or held_out, got 'nowhere'"),
        (["--results", "r.json"], "COCO's result file is for COCO's data"),
    ],
)
def test_wrong_usage_is_one_sentence(folder, capsys, words, sentence):
    call = ["eval", str(folder / "detection.yaml"), "--weights", str(folder / "detection.params"), *words]
    assert main(call) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.startswith("dcn eval: ") and "Traceback" not in err


@pytest.fixture
def unanswered(folder, tmp_path, monkeypatch):
    """The detector's command on a COCO set whose objects nobody has, and that looks at no image."""
    made_data.coco(tmp_path, "test", made_data.coco_content([], names=("a", "b", "c")))
    own = {"dataset": "Folder", "test_image_set": "test", "NUM_CLASSES": 4, "CLASS_NAMES": []}
    cfg = load_config(folder / "detection.yaml", **{f"dataset__{key}": value for key, value in own.items()})
    (tmp_path / "own.yaml").write_text(dump(cfg), encoding="utf-8")
    monkeypatch.setattr("dcn_suite.cli.eval.look_at", lambda *args, **options: pytest.fail("images were looked at"))
    return [
        "eval", str(tmp_path / "own.yaml"), "--weights", str(folder / "detection.params"), "--data", str(tmp_path)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "expected annotated objects to score with, there are none (a test set?): --results FILE"),
        (("--results", "."), "--results: expected a file to write, . is a folder"),
        (("--results", "r.json", "--json"), "--out and --json hold scores"),
    ],
)
def test_what_cannot_be_scored_is_said_before_images_are_looked_at(unanswered, capsys, words, sentence):
    assert main([*unanswered, *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_failing_process_is_a_sentence(folder, capsys, tmp_path):
    (tmp_path / "bad.params").write_bytes(b"nothing")
    call = ["eval", str(folder / "detection.yaml"), "--weights", str(tmp_path / "bad.params"), "--processes", "2"]
    assert main(call) == 2
    assert "one of them failed" in capsys.readouterr().err


def test_findings_survive_their_file(tmp_path):
    from dcn_suite.evaluation import Findings, united
    from dcn_tasks.detections import Detections

    nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    some = Detections(np.array([[1.5, 2, 3, 4]]), np.array([0.1]), np.array([2]))
    Findings({3: some, 1: nothing}, None, {5: "why"}).save(tmp_path / "a.npz")
    Findings({}, np.eye(2, dtype=int)).save(tmp_path / "b.npz")
    whole = united([Findings.load(tmp_path / name) for name in ("a.npz", "b.npz")])
    assert list(whole.found) == [3, 1] and whole.skipped == {5: "why"} and whole.counts.tolist() == [[1, 0], [0, 1]]
    assert whole.found[3].boxes.tolist() == some.boxes.tolist() and len(whole.in_order(6)[0]) == 0
