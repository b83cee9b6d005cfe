"""`dcn train` in one process: what it leaves, what it refuses, how it ends."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from tolerances import LOSS_IN_BFLOAT16

from dcn_suite.cli.main import main
from dcn_tasks.training_log import read_rows
from tests.tasks import made_data
from tests.training_runs.kills import write_config
from weights_convert import load_params, load_weights

FRAMEWORKS = ("torch", pytest.param("mxnet", marks=pytest.mark.mxnet))


def train(folder, *options: str, config=None) -> int:
    config = config or write_config(folder)
    return main(["train", str(config), "--output", str(folder / "run"), "--steps", "4", *options])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_training_leaves_log_rows_states_and_weights(framework, tmp_path, capsys):
    assert train(tmp_path, "--framework", framework, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"run.json", "config.yaml", "training.log", "metrics.jsonl", "tensorboard"} <= names
    assert done["updates"] == 4 and np.isfinite(list(done["metrics"].values())).all()
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert facts["seed"] == 0 and facts["framework"] == framework and facts["versions"]["numpy"] == np.__version__
    wanted = {"torch": "model.safetensors", "mxnet": "narrow_rfcn_dcn-0001.params"}[framework]
    assert done["weights"].endswith(wanted) and wanted in names


@pytest.mark.mxnet
def test_frameworks_see_the_same_batches_from_the_same_start(tmp_path):
    rows = {}
    for framework in ("torch", "mxnet"):
        (tmp_path / framework).mkdir()
        assert train(tmp_path / framework, "--framework", framework) == 0
        rows[framework] = read_rows(tmp_path / framework / "run" / "metrics.jsonl")
    for name in ("RPNLogLoss", "RPNL1Loss", "RCNNLogLoss", "RCNNL1Loss"):
        assert rows["torch"][0][name] == pytest.approx(rows["mxnet"][0][name], rel=1e-3)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_loss_that_is_no_number_ends_with_the_layer_named(framework, tmp_path, capsys):
    config = write_config(tmp_path, TRAIN__lr=1e30, TRAIN__warmup=False)
    assert train(tmp_path, "--framework", framework, config=config) == 1
    said = capsys.readouterr().err
    assert "TRAIN.lr" in said and "finite" in said
    assert any(layer in said for layer in ("conv", "weight", "backbone", "output of")), said


def test_an_update_that_makes_weights_overflow_is_not_saved(tmp_path, capsys):
    config = write_config(tmp_path, TRAIN__lr=1e30, TRAIN__warmup=False)
    assert train(tmp_path, "--steps", "1", "--save-every", "1", config=config) == 1
    assert "expected finite weights after update 1" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_low_precision_and_channels_last_train(tmp_path):
    assert train(tmp_path, "--amp", "bf16", "--channels-last", "--device", "cpu") == 0
    state = load_weights(tmp_path / "run" / "model.safetensors").state
    assert all(tensor.isfinite().all() and tensor.dtype.itemsize == 4 for tensor in state.values())
    (tmp_path / "exact").mkdir()
    assert train(tmp_path / "exact", "--device", "cpu") == 0
    low, exact = (read_rows(folder / "run" / "metrics.jsonl")[0] for folder in (tmp_path, tmp_path / "exact"))
    for name in ("RPNLogLoss", "RCNNLogLoss"):
        assert low[name] == pytest.approx(exact[name], rel=LOSS_IN_BFLOAT16)
        assert low[name] != exact[name], "bfloat16 ran"


@pytest.mark.mxnet
def test_a_kvstore_of_several_processes_is_refused_before_anything_is_written(tmp_path, capsys):
    config = write_config(tmp_path, default__kvstore="dist_sync")
    assert train(tmp_path, "--framework", "mxnet", config=config) == 2
    assert "several processes, and this one is alone" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.mxnet
def test_options_of_pytorch_are_refused_for_mxnet(tmp_path, capsys):
    assert train(tmp_path, "--framework", "mxnet", "--amp", "bf16") == 2
    assert "--amp is PyTorch's" in capsys.readouterr().err


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_originals_resume_warms_up_again(framework, tmp_path):
    changes = {"TRAIN__warmup_step": 3, "TRAIN__lr": 0.02, "TRAIN__warmup_lr": 0.001, "default__frequent": 1}
    config = write_config(tmp_path, **changes)
    assert train(tmp_path, "--framework", framework, config=config) == 0
    again = ["--framework", framework, "--resume", "--restart-warmup", "--steps", "8"]
    assert train(tmp_path, *again, config=config) == 0
    rates = [row["lr"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")]
    assert rates == [0.001, 0.001, 0.02, 0.02, 0.001, 0.001, 0.02, 0.02]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_finished_training_names_its_weights_again(framework, tmp_path, capsys):
    """Also one that was killed after its last state and before model.safetensors."""
    said = []
    for more in ((), ("--resume",)):
        assert train(tmp_path, "--framework", framework, "--json", *more) == 0
        said.append(json.loads(capsys.readouterr().out)["weights"])
        assert Path(said[-1]).is_file()
        (tmp_path / "run" / "model.safetensors").unlink(missing_ok=framework == "mxnet")
    assert said[0] == said[1]
    assert train(tmp_path, "--framework", framework, "--resume", "--steps", "3") == 2
    assert "holds 4 updates, expected to go on to 3" in capsys.readouterr().err


@pytest.mark.mxnet
def test_an_epochs_checkpoint_starts_another_training(tmp_path):
    assert train(tmp_path, "--framework", "mxnet") == 0
    weights = tmp_path / "run" / "narrow_rfcn_dcn-0001.params"
    assert "rfcn_bbox_weight_test" in load_params(weights).arg
    (tmp_path / "next").mkdir()
    assert train(tmp_path / "next", "--weights", str(weights)) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--steps", "0"), "--steps: expected 1 or more"),
        (("--weights", "absent.params"), "absent.params"),
        (("--weights", "a", "--from-scratch"), "expected one of them"),
        (("--restart-warmup",), "goes with --resume"),
        (("--device", "cuda"), "this PyTorch sees no GPU"),
        pytest.param(
            ("--framework", "mxnet", "--device", "cuda"), "MXNet computes on the CPU here", marks=pytest.mark.mxnet
        ),
        pytest.param(("--framework", "mxnet", "--amp", "bf16"), "--amp is PyTorch's", marks=pytest.mark.mxnet),
    ],
)
def test_wrong_usage_is_a_sentence(options, said, tmp_path, capsys):
    import torch

    if options == ("--device", "cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU here: --device cuda is right usage")
    assert train(tmp_path, *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_backbone_that_is_missing_leaves_no_folder_behind(tmp_path, capsys):
    config = write_config(tmp_path, network__pretrained=str(tmp_path / "absent"))
    assert train(tmp_path, config=config) == 2
    assert "absent-0000.params: expected the backbone that network.pretrained names" in capsys.readouterr().err
    assert train(tmp_path, "--from-scratch", config=config) == 0


@pytest.mark.mxnet
@pytest.mark.parametrize("group", ["TRAIN", "TEST"])
def test_several_images_a_device_follow_each_other(group, tmp_path):
    config = write_config(tmp_path, **{f"{group}__BATCH_IMAGES": 2})
    assert train(tmp_path, "--framework", "mxnet", "--steps", "1", config=config) == 0


def test_a_training_that_is_done_tells_its_last_metrics(tmp_path, capsys):
    told = []
    for options in ((), ("--resume",)):
        assert train(tmp_path, "--json", *options) == 0
        told.append(json.loads(capsys.readouterr().out)["metrics"])
    assert told[0].keys() == told[1].keys() and np.isfinite(list(told[1].values())).all()


@pytest.mark.parametrize(("options", "status"), [((), 2), (("--images-per-update", "2"), 0)])
def test_processes_want_an_image_each(monkeypatch, options, status, tmp_path, capsys):
    monkeypatch.setattr("dcn_suite.training.in_torch.joined", lambda cfg, settings: nullcontext((0, 2)))
    assert train(tmp_path, "--steps", "1", *options) == status
    said = capsys.readouterr().err
    assert ("expected an image an update for each of 2 processes, got 1" in said) == (status == 2)


@pytest.mark.parametrize("resume", [True, False])
def test_a_configurations_own_resume_is_said_not_to_be_read(resume, tmp_path):
    assert train(tmp_path, config=write_config(tmp_path, TRAIN__RESUME=resume, TRAIN__begin_epoch=5)) == 0
    log = (tmp_path / "run" / "training.log").read_text(encoding="utf-8")
    assert ("TRAIN.begin_epoch (5) are not read" in log) == resume


def test_a_configuration_without_epochs_wants_steps(tmp_path, capsys):
    config = write_config(tmp_path, TRAIN__end_epoch=0)
    assert main(["train", str(config), "--output", str(tmp_path / "run")]) == 2
    assert "set it, or give --steps" in capsys.readouterr().err


def test_a_run_told_to_skip_goes_on_past_annotations_and_images_and_lists_them(tmp_path, capsys):
    objects = {name: [("worm", (2, 3, 20, 30), 0)] for name in ("one", "two", "three", "four")}
    home = made_data.voc(tmp_path / "data", "2007", "train", objects)
    (home / "Annotations" / "one.xml").write_text("", encoding="utf-8")
    (home / "JPEGImages" / "two.jpg").write_bytes(b"no image")
    own = {"dataset": "Folder", "image_set": "all", "NUM_CLASSES": 2, "CLASS_NAMES": ["worm"]}
    config = write_config(tmp_path, **{f"dataset__{key}": value for key, value in own.items()})
    words = ("--data", str(home), "--json")
    assert train(tmp_path, *words, config=config) == 2
    assert "one.xml" in capsys.readouterr().err
    assert train(tmp_path, *words, "--skip-bad", "--steps", "6", config=config) == 0
    reading, image = json.loads(capsys.readouterr().out)["left_out"]
    assert "1 of 4 images left out" in reading and "one.xml" in reading and "two.jpg" in image
    log = (tmp_path / "run" / "training.log").read_text(encoding="utf-8")
    assert "one.xml" in log and sum("two.jpg" in line for line in log.splitlines()) == 1
