"""The demo's command: what it refuses, and (slow) the whole story with too little training."""

import json

import pytest

from dcn_suite.cli.main import main


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--seed", "-1"]])
def test_numbers_out_of_range_are_refused_in_one_sentence(arguments, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), *arguments]) == 2
    assert "expected --steps of at least 1" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
@pytest.mark.mxnet
def test_an_untrained_demo_says_that_it_does_not_detect_but_agrees(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--steps", "20", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    held = {row["what"]: row["holds"] for row in result["rows"]}
    assert not held["mAP@0.5 on 100 held-out scenes"]
    assert held["boxes with a twin in the other framework"]
    report = json.loads((tmp_path / "parity" / "parity.json").read_text())
    red = [row for row in report["rows"] if row["verdict"] == "red"]
    # stock convolutions of two libraries may round differently by more than the rule allows; the function must be one
    assert all(row["operator"] == "Convolution" and row["claim"].startswith("float32") for row in red), red
    page = (tmp_path / "index.html").read_text()
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    for file in (
        "narrow_rfcn_dcn-0001.params",
        "converted/model.safetensors",
        "parity/report.html",
        "parity/parity.json",
    ):
        assert (tmp_path / file).is_file()
