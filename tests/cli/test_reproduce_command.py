"""`dcn reproduce`: lists, runs, refuses."""

import json

import pytest

from dcn_suite.cli.main import main


def test_rows_are_listed_with_figures_and_state(capsys, tmp_path):
    assert main(["reproduce", "readme-voc", "--json", "--results", str(tmp_path)]) == 0
    plain, deformable = json.loads(capsys.readouterr().out)
    assert (plain["row"], deformable["row"]) == ("readme-voc/rfcn", "readme-voc/rfcn-dcn")
    assert deformable["published"].startswith("mAP@0.5 82.3, mAP@0.7 67.8")
    assert plain["status"] == deformable["status"] == "not run"
    assert "VOC 2007 and 2012 trainval" in plain["data"] and "0.23 million images" in plain["cost"]


def test_row_is_run_once_and_then_listed_as_measured(capsys, tmp_path):
    command = ["reproduce", "complexity/rfcn", "--results", str(tmp_path)]
    assert main([*command, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert set(result["values"]) == {"million parameters, plain", "million parameters, deformable"}
    assert result["commit"] and result["date"] and result["machine"]["processor"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "0 of 1 runs done now, 1 were stored already" in said.err and "measured: 2" in said.out


def test_missing_data_is_said_with_its_layout_and_where_it_is_published(capsys, tmp_path):
    assert main(["reproduce", "ablation-layers/rfcn-3", "--data", str(tmp_path), "--results", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "VOC2007/JPEGImages/*.jpg" in said and "http://host.robots.ox.ac.uk/pascal/VOC/" in said
    assert said.count("\n") == 1 and not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["ablation-layer"], "no such table; near: ablation-layers"),
        (["coco/rfcn-cdn"], "no such row; near: coco/rfcn-dcn"),
        (["imagenet/resnet-101"], "nothing measures this row yet; published: top1_error 23.6"),
        (["complexity/rfcn", "--framework", "mxnet"], "--framework: expected of torch, got 'mxnet'"),
        (["coco/rfcn", "--framework", "torch"], "test-dev2015 has no public ground truth: use `dcn train"),
        (["--run"], "name a table"),
        (["ablation-layers/rfcn-3", "--data", "absent"], "absent: expected VOC2007/JPEGImages"),
        (["mnist", "--page", "x.md"], "leave TABLE and --run out"),
    ],
)
def test_wrong_use_is_one_sentence(capsys, command, sentence):
    assert main(["reproduce", *command]) == 2
    assert sentence in capsys.readouterr().err
