"""The table and its page."""

import json
import math

import numpy as np

from dcn_suite.parity.judge import judge
from dcn_suite.parity.report import Result, html_page, write_report
from dcn_suite.parity.rows import RED, Table, counted_row, judged_row, number, reported_row

TRUTH = np.array([1.0, 2.0])


def a_table(error: float = 0.0) -> Table:
    good = judge(TRUTH, TRUTH, TRUTH, TRUTH)
    other = judge(TRUTH, TRUTH, TRUTH + error, TRUTH)
    return Table(
        [
            judged_row("isolated", "conv1", "output", good, depth=0),
            judged_row("isolated", "bn<b>conv1</b>", "output", other, depth=1),
            reported_row("free-running", "ReLU masks", "decisions", "of 10", 0, 3),
        ]
    )


def a_result(error: float = 0.0) -> Result:
    return Result(a_table(error), {"config": "demo/narrow", "size": "40x56", "grad": True, "seconds": 1.0, "seed": 3})


def test_one_red_row_is_enough_for_the_table_not_to_hold():
    assert a_table().holds
    assert not a_table(1e-3).holds
    assert [row.node for row in a_table(1e-3).red] == ["bn<b>conv1</b>"]


def test_a_table_that_judged_nothing_does_not_hold():
    assert not Table().holds
    assert not Table([reported_row("free-running", "x", "y", "z", 0, 0)]).holds


def test_a_count_above_the_allowed_one_is_red():
    row = counted_row("isolated", "rois", "RoIs", "unmatched", 1)
    assert row.verdict == RED
    assert math.isinf(row.strain)


def test_the_page_escapes_names_and_names_the_red_row():
    page = html_page(a_result(1e-3))
    assert "bn&lt;b&gt;conv1&lt;/b&gt;" in page
    assert "<b>conv1</b>" not in page
    assert "Parity does not hold" in page
    assert "<svg" in page
    assert "http://" not in page and "https://" not in page  # nothing is fetched


def test_parity_json_is_strict_json_that_says_the_same_as_the_table(tmp_path):
    result = a_result(float("nan"))
    paths = write_report(result, tmp_path)
    content = json.loads(paths["json"].read_text(), parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word)))
    assert content["holds"] is False
    assert content["red"] == 1
    assert [row["verdict"] for row in content["rows"]] == ["holds", "red", "reported"]


def test_numbers_in_cells():
    assert [number(value) for value in (0, 3, 0.5, 1.25e-9, float("inf"), "—")] == [
        "0",
        "3",
        "0.5",
        "1.25e-09",
        "∞",
        "—",
    ]


def test_a_brief_report_leaves_out_nodes_that_simply_hold_and_keeps_the_rest():
    rows = a_result(1e-3).as_dict(brief=True)["rows"]
    assert [row["node"] for row in rows] == ["bn<b>conv1</b>", "ReLU masks"]
    assert len(a_result(1e-3).as_dict()["rows"]) == 3


def test_the_worst_float64_disagreement_is_named():
    table = Table(
        [judged_row("isolated", "a", "output", judge(TRUTH, TRUTH, TRUTH, each)) for each in (TRUTH, TRUTH + 1)]
    )
    assert table.worst_disagreement == {"of_scale": 0.5, "what": "isolated · a · output"}
    assert Table().worst_disagreement == {}
