"""The three commands of docs/fine_tuning.md, as they stand there, on real photographs, with a narrow network."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import yaml

from dcn_suite.cli.main import main
from dcn_suite.training.start import starting_weights
from dcn_tasks.box_scale import unnormalised
from dcn_tasks.config import load_config, unflatten
from tests.training_runs.kills import TINY
from weights_convert import Params, save_params

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "fine_tuning.md"
COCO = "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem"


def commands() -> list[str]:
    """The lines of the guide's block of commands."""
    block = GUIDE.read_text(encoding="utf-8").partition("## Three commands\n```\n")[2].partition("```")[0]
    return [line for line in block.splitlines() if line.startswith("dcn ")]


def narrow_configuration(written: str) -> str:
    """The guide's YAML on top of a narrow network: its dataset, its names, a few updates."""
    values = yaml.safe_load(written)
    narrow = load_config("demo/narrow_rfcn_dcn", **TINY)
    return yaml.safe_dump({
        "_base_": "narrow",
        "dataset": values["dataset"],
        "TRAIN": {"model_prefix": values["TRAIN"]["model_prefix"], "end_epoch": values["TRAIN"]["end_epoch"], "lr": narrow.TRAIN.lr},
        "default": {"frequent": 2},
    })  # fmt: skip


def checkpoint(cfg) -> Params:
    """A trained network as the original saves it, `_test` copies included; here with random weights."""
    params, _ = starting_weights(cfg, 5, None, from_scratch=True)
    copies = {f"{name}_test": unnormalised(params.arg[name], cfg) for name in ("rfcn_bbox_weight", "rfcn_bbox_bias")}
    return Params({**params.arg, **copies}, params.aux)


def test_the_guides_commands_tune_a_checkpoint_on_raccoons(data_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "narrow.yaml").write_text(
        "_base_: demo/narrow_rfcn_dcn\n" + yaml.safe_dump(unflatten(TINY)), encoding="utf-8"
    )
    before = load_config("narrow.yaml", dataset__NUM_CLASSES=5)
    save_params("rfcn_dcn_coco-0000.params", checkpoint(before))
    written = GUIDE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    Path("raccoon.yaml").write_text(narrow_configuration(written), encoding="utf-8")
    Path("raccoon").symlink_to(data_folder / "raccoon")
    shutil.copy(sorted((data_folder / "raccoon" / "images").glob("*.jpg"))[0], "photo.jpg")
    convert, train, evaluate = commands()
    assert main(shlex.split(convert.replace(COCO, "narrow.yaml"))[1:]) == 0
    assert main([*shlex.split(train)[1:], "--steps", "6"]) == 0
    log = Path("tuned/training.log").read_text(encoding="utf-8")
    assert "rfcn_cls, rfcn_cls_offset_t begin with initial values" in log
    rows = [json.loads(line) for line in Path("tuned/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["update"] for row in rows] == [2, 4, 6] and all(np.isfinite(row["RCNNLogLoss"]) for row in rows)
    assert main(shlex.split(evaluate)[1:]) == 0
    assert main(["predict", "raccoon.yaml", "--weights", "tuned", "--out", "found", "photo.jpg"]) == 0
    assert json.loads(Path("found/photo.json").read_text(encoding="utf-8"))["weights"] == "model.safetensors"
    assert main(["convert", "tuned", "--to", "mxnet", "-o", "back/raccoon"]) == 0
    capsys.readouterr()
