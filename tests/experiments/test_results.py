"""Stored results: what they say, how they add up, and the page that is made from them alone."""

import fcntl
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dcn_suite.reproduce.figure import loss_figure
from dcn_suite.reproduce.page import listing, render, status
from dcn_suite.reproduce.registry import find_row, results_root
from dcn_suite.reproduce.results import new_result, read, result_path, results_of, store, summary
from dcn_tasks.errors import InputError
from dcn_tasks.files import claimed

ROW = find_row("mnist/deformable")
PAGE = Path(__file__).resolve().parents[2] / "RESULTS.md"


def stored(root, value, *, column="rotated", framework="torch", seed=0):
    result = new_result(ROW, framework, seed, {column: value}, 12.3, {"pixels": "lossless"})
    store(result_path(root, ROW, framework, seed, column), result)
    return result


def test_results_page_is_made_from_the_stored_results_alone():
    """`dcn reproduce --page RESULTS.md` writes it."""
    assert PAGE.read_text(encoding="utf-8") == render(results_root())


def test_page_without_results_says_not_run_and_holds_no_figure_of_ours(tmp_path):
    page = render(tmp_path)
    assert "processor time" not in page
    assert page.count("| not run |") >= 80


def test_page_changes_with_a_result(tmp_path):
    before = render(tmp_path)
    result = stored(tmp_path, 98.765)
    after = render(tmp_path)
    assert "98.77 (1 of 3 seeds)" in after and "98.77" not in before
    assert result.commit in after and result.machine["processor"] in after


def test_result_reads_back_as_it_was_stored(tmp_path):
    result = stored(tmp_path, 98.5)
    assert results_of(tmp_path, ROW) == [result]
    text = result_path(tmp_path, ROW, "torch", 0, "rotated").read_text()
    assert set(json.loads(text)) >= {"date", "commit", "machine", "versions"}


def test_mean_and_deviation_are_over_seeds_of_one_framework(tmp_path):
    for seed, value in enumerate((98.0, 99.0, 100.0)):
        stored(tmp_path, value, seed=seed)
    stored(tmp_path, 50.0, framework="mxnet")
    found = summary(results_of(tmp_path, ROW))
    assert str(found["torch", "rotated"]) == "99.00 ± 1.00"
    assert str(found["mxnet", "rotated"]) == "50.00"


def test_a_deviation_that_results_have_themselves_is_shown_of_one_seed_and_of_several(tmp_path):
    row = find_row("effective-dilation/res5c")
    for seed, value in enumerate((2.0, 4.0)):
        result = new_result(row, "torch", seed, {"small": value}, 1.0, {"spread": {"small": 1.0 + seed}})
        store(result_path(tmp_path, row, "torch", seed), result)
        shown = {0: "2.00 ± 1.00", 1: "3.00 ± 1.50"}[seed]
        assert str(summary(results_of(tmp_path, row))["torch", "small"]) == shown


def test_a_claim_whose_file_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    """Its last holder may end between another's opening and locking the file, and a third begin anew."""
    path, lock = tmp_path / "a.lock", fcntl.flock

    def ended_meanwhile(file, how):
        path.unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", ended_meanwhile)
    with claimed(path) as mine:
        assert not mine


def test_row_is_measured_only_when_every_figure_is_there(tmp_path):
    assert status(ROW, []) == "not run"
    for framework in ROW.frameworks:
        for seed in ROW.seeds:
            for column in ROW.setting["columns"]:
                assert not status(ROW, results_of(tmp_path, ROW)).startswith("measured:")
                stored(tmp_path, 90.0, column=column, framework=framework, seed=seed)
    assert status(ROW, results_of(tmp_path, ROW)).startswith("measured: 20")


def test_page_shows_a_comparison_of_ours_without_a_published_line(tmp_path):
    row = find_row("small-data/camvid-plain")
    curve = {"curve": {"update": [20, 40], "loss": [2.0, 1.0]}, "image_set": "test"}
    assert loss_figure(tmp_path) is None
    for seed, value in enumerate((30.0, 32.0)):
        store(result_path(tmp_path, row, "torch", seed), new_result(row, "torch", seed, {"mIoU": value}, 60.0, curve))
    page = render(tmp_path)
    assert "| `camvid-plain`: DeepLab on CamVid: plain | PyTorch | – | – | 31.00 ± 1.41 (2 of 3 seeds) |" in page
    assert "|  | MXNet | – | – | not run |" in page and "docs/images/small_data.png" in page
    assert loss_figure(tmp_path).ndim == 3
    for path in tmp_path.rglob("*.json"):
        stored = json.loads(path.read_text())
        del stored["details"]["curve"]
        path.write_text(json.dumps(stored))
    assert loss_figure(tmp_path) is None, "a result that somebody stored without its curve"


def test_damaged_result_is_named(tmp_path):
    path = result_path(tmp_path, ROW, "torch", 0, "mnist")
    path.parent.mkdir(parents=True)
    path.write_text('{"row": "mnist/deformable"}')
    with pytest.raises(InputError, match=r"torch-mnist-seed0\.json: expected a stored result"):
        listing((ROW,), tmp_path)


DAMAGES = [
    ({"row": None}, "`row`"),
    ({"seed": True}, "`seed`"),
    ({"values": 3}, "`values`"),
    ({"values": {"mnist": "98"}}, "`values`"),
    ({"values": {"mnist": float("inf")}}, "`values`"),
    ({"values": {"mnist": 10**400}}, "`values`"),
    ({"date": 20240101}, "`date`"),
    ({"machine": {}}, "`machine`"),
    ({"seconds": None}, "`seconds`"),
    ({"details": None}, "`details`"),
    ({"details": {"spread": {"mnist": []}}}, "`spread`"),
    ({"details": {"spread": 1}}, "`spread`"),
    ({"details": {"curve": []}}, "`curve`"),
    ({"details": {"curve": {"update": [1, 2], "loss": [0.5]}}}, "`curve`"),
    ({"details": {"curve": {"update": [1], "loss": ["a"]}}}, "`curve`"),
    ({"details": {"image_set": ["val"]}}, "`image_set`"),
    ({"details": {"in_place_of": "val"}}, "`image_set`"),
    ({"another": 1}, "another"),
]


@pytest.mark.parametrize(("change", "said"), DAMAGES)
def test_result_whose_fields_are_of_another_kind_is_named(change, said, tmp_path):
    stored(tmp_path, 98.5)
    path = result_path(tmp_path, ROW, "torch", 0, "rotated")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=rf"torch-rotated-seed0\.json: expected a stored result.*{said}"):
        render(tmp_path)


@pytest.mark.parametrize("levels", [400, 100_000])
def test_result_nested_without_end_is_named(levels, tmp_path):
    stored(tmp_path, 98.5)
    path = result_path(tmp_path, ROW, "torch", 0, "rotated")
    path.write_text(path.read_text().replace('"lossless"', "[" * levels + "]" * levels))
    with pytest.raises(InputError, match=r"torch-rotated-seed0\.json: expected a stored result"):
        read(path)


@pytest.mark.parametrize("values", [{"rotated": float("nan")}, {"no such column": 1.0}])
def test_figure_that_no_table_has_or_is_not_finite_is_refused(values):
    with pytest.raises(InputError, match="expected finite figures of mnist, rotated"):
        new_result(ROW, "torch", 0, values, 1.0, {})


def test_two_processes_do_not_work_on_one_result(tmp_path):
    path = tmp_path / "row" / "torch-seed0.lock"
    with claimed(path) as first, claimed(path) as second:
        assert (first, second) == (True, False)
    with claimed(path) as later:
        assert later
    assert list(path.parent.iterdir()) == []


def test_stored_results_are_whole_and_of_known_rows():
    files = sorted(results_root().rglob("*.json"))
    for path in files:
        result = read(path)
        assert path.parent == results_root() / result.row
        assert replace(result, values={}).row == find_row(result.row).id
        assert result.values.keys() <= set(find_row(result.row).columns), path
