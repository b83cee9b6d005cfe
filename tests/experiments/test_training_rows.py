"""A row that trains: from data to a stored figure, on generated scenes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dcn_suite.feature_maps import feature_maps
from dcn_suite.reproduce.effective_dilation import measure
from dcn_suite.reproduce.page import listing, on_other_images, provenance, status
from dcn_suite.reproduce.registry import Row, Table, find_row
from dcn_suite.reproduce.results import IN_PLACE_OF, new_result, results_of, store, summary
from dcn_suite.reproduce.runs import Choice, perform, runs_of
from dcn_suite.reproduce.training import CURVE_POINTS, figures, loss_curve, trained
from dcn_tasks.config import dump, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.images import to_network_input
from dcn_tasks.scoring.effective_dilation import SIZES


@pytest.fixture
def row(tmp_path):
    cfg = load_config(
        "demo/narrow_rfcn_dcn", SCALES=[64, 96], dataset__SCENES=[4, 2], TRAIN__end_epoch=1, TRAIN__FLIP=False
    )
    path = tmp_path / "tiny.yaml"
    path.write_text(dump(cfg), encoding="utf-8")
    published = {"mAP@0.5": 50.0, "mAP@0.7": 40.0, "seconds_per_image": 0.1}
    return Row(
        "readme-voc", "tiny", "a tiny one", "nowhere", published, config=str(path), frameworks=("torch",), images=4
    )


def test_training_row_is_trained_scored_and_stored(row, tmp_path):
    choice = Choice(results=tmp_path / "results", work=tmp_path / "work", data=tmp_path / "no such folder")
    (done,) = perform(runs_of(row, choice), choice, lambda sentence: None)
    (result,) = results_of(choice.results, row)
    assert set(result.values) == {"mAP@0.5", "mAP@0.7"} and result.framework == "torch"
    assert result.details["updates"] == 4 and result.details["image_set"] == "held_out"
    assert result.details["curve"]["update"] == [4] and result.details["curve"]["loss"][0] > 0
    assert str(tmp_path) not in done.path(choice.results).read_text()
    assert json.loads(done.path(choice.results).read_text())["row"] == "readme-voc/tiny"


def test_scores_on_other_images_are_marked(row, tmp_path):
    choice = Choice(results=tmp_path / "results", work=tmp_path / "work", data=tmp_path, image_set="train")
    list(perform(runs_of(row, choice), choice, lambda sentence: None))
    (result,) = results_of(choice.results, row)
    assert not result.is_the_rows and result.details["image_set"] == "train"
    assert (summary([result]), listing((row,), choice.results)[0][3]) == ({}, "–")


def test_one_training_at_a_time_whatever_is_scored(row, tmp_path):
    (own,), (other,) = (runs_of(row, Choice(image_set=name)) for name in (None, "train"))
    assert own.claim(tmp_path) == other.claim(tmp_path) and own.path(tmp_path) != other.path(tmp_path)


def test_figures_of_other_images_stand_beside_the_rows(row, tmp_path):
    others = [{}, {IN_PLACE_OF: "held_out"}]
    for name, value, details in zip(("own", "other"), (10.0, 90.0), others, strict=True):
        result = new_result(row, "torch", 0, {"mAP@0.5": value}, 1.0, {"image_set": name, **details})
        store(tmp_path / row.table / row.name / f"torch-{name}-seed0.json", result)
    results = results_of(tmp_path, row)
    assert summary(results)["torch", "mAP@0.5"].mean == 10.0
    assert provenance(Table("readme-voc", "", "", (row,)), {row.id: results})[0].startswith("1 runs")
    (said,) = filter(None, on_other_images({row.id: results}))
    assert said.startswith("`readme-voc/tiny`, torch, seed 0, on other in place of held_out: mAP@0.5 90.00 (")
    assert status(row, [each for each in results if not each.is_the_rows]) == "not run"


@pytest.mark.mxnet
def test_effective_dilation_of_a_trained_network_is_the_same_in_both_frameworks(row, tmp_path):
    """Zero offsets at the start, four updates: hardly anything is learnt, and the network has dilation 2."""
    layer = replace(row, runs="effective dilation", published=dict.fromkeys(SIZES, 1.0), setting={"unit": "res5a"})
    choice = Choice(results=tmp_path / "results", work=tmp_path / "work", data=tmp_path / "no such folder")
    (run,) = runs_of(layer, choice)
    list(perform([run], choice, lambda sentence: None))
    (result,) = results_of(choice.results, layer)
    assert set(result.values) == set(result.details["spread"]) and "background" in result.values
    assert result.values["background"] == pytest.approx(2.0, abs=0.2)
    assert sum(result.details["positions"].values()) % (4 * 6) == 0, "cells of whole maps"
    network = trained(row, "torch", 0, data=choice.data, work=run.work(choice.work), image_set=None, note=str)
    checkpoint = with_offsets(network.checkpoint)
    image, _ = to_network_input(network.dataset[0].read_image(), network.cfg)
    nodes = ["res5a_branch2b_offset"]
    ours, theirs = (feature_maps(network.cfg, checkpoint, each, nodes)(image) for each in ("torch", "mxnet"))
    assert abs(ours[nodes[0]]).max() > 0.1
    np.testing.assert_allclose(ours[nodes[0]], theirs[nodes[0]], atol=1e-4)
    with pytest.raises(InputError, match="expected res4a to be deformable"):
        measure(
            replace(layer, setting={"unit": "res4a"}),
            "torch",
            0,
            data=choice.data,
            work=run.work(choice.work),
            note=str,
        )


def with_offsets(checkpoint):
    """Weights of offsets that are not near zero."""
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(value.shape, generator=generator) * 0.05 if "offset_conv.weight" in name else value
        for name, value in checkpoint.state.items()
    }
    return replace(checkpoint, state=state)


def test_rows_that_measure_one_training_share_its_folder_and_its_claim(tmp_path):
    choice = Choice(frameworks=("torch",))
    runs = [run for name in ("res5a", "res5c") for run in runs_of(find_row(f"effective-dilation/{name}"), choice)]
    (own,) = runs_of(find_row("dilation/rfcn-deformable"), choice)
    assert {run.work(tmp_path) for run in runs} == {own.work(tmp_path)}
    assert {run.claim(tmp_path) for run in runs} == {own.claim(tmp_path)}
    assert len({run.path(tmp_path) for run in (*runs, own)}) == 3


def test_another_image_set_has_a_file_of_its_own(row, tmp_path):
    def path(image_set):
        (run,) = runs_of(row, Choice(image_set=image_set))
        return run.path(tmp_path).name

    assert path(None) == path(row.load().dataset.test_image_set) == "torch-seed0.json"
    assert path("data/mine.csv") == "torch-data_mine.csv-seed0.json"
    with pytest.raises(InputError, match="leave --image-set out"):
        runs_of(find_row("mnist/regular"), Choice(image_set="val"))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"mAP@0.5 (11 points)": 61.0, "mAP@0.7 (11 points)": 30.0, "AP@0.5 cat": 61.0}, {"mAP@0.5": 61.0, "mAP@0.7": 30.0}),
        ({"AP": 30.1, "AP50": 50.2, "AR1": 1.0}, {"mAP@0.5": 50.2}),
    ],
)  # fmt: skip
def test_scores_go_to_the_columns_of_the_table(row, scores, expected):
    assert figures(row, scores) == expected


def test_scores_that_no_column_wants_are_refused(row):
    with pytest.raises(InputError, match=r"expected scores for mAP@0\.5, mAP@0\.7, seconds_per_image, got mIoU"):
        figures(row, {"mIoU": 70.0})


def test_row_of_one_set_looks_for_it_below_the_folder_of_data_sets(tmp_path):
    row = find_row("small-data/raccoon-plain")
    choice = Choice(results=tmp_path / "results", work=tmp_path / "work", data=tmp_path, frameworks=("torch",))
    with pytest.raises(InputError, match=f"{tmp_path}/raccoon"):
        list(perform(runs_of(row, choice), choice, lambda sentence: None))


def test_long_loss_curve_is_stored_as_means_that_end_at_the_last_update(tmp_path):
    cfg = find_row("small-data/camvid-plain").load()
    rows = [
        {"update": 20 * number, "FCNLogLoss": float(number), "FCNAcc": 7.0} for number in range(1, 2 * CURVE_POINTS + 1)
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    curve = loss_curve(cfg, tmp_path / "metrics.jsonl")
    assert len(curve["loss"]) == CURVE_POINTS and curve["loss"][:2] == [1.5, 3.5]
    assert curve["update"][-1] == rows[-1]["update"]
