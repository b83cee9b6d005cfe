"""GluonCV's model zoo: what the stored table says holds, holds; a few small ones in every run."""

import json
from pathlib import Path

import pytest

from dcn_suite.parity.zoo_page import NOT_TRIED, render

ROOT = Path(__file__).resolve().parents[2]
ROWS = json.loads((ROOT / "benchmarks/results/zoo_conversion.json").read_text(encoding="utf-8"))
HOLD = [row["name"] for row in ROWS if row["verdict"] == "holds"]
QUICK = (
    "squeezenet1.1",
    "mobilenet1.0_int8",
    "mobilenet0.25",
    "yolo3_mobilenet0.25_voc",
    "center_net_mobilenetv3_small_duc_voc",
)


@pytest.mark.mxnet
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in HOLD])
def test_model_of_the_zoo_holds_at_every_node(name):
    pytest.importorskip("gluoncv", reason="gluoncv is not installed")
    from dcn_suite.parity.zoo import check

    row = check(name)
    assert row["verdict"] == "holds", row["why"]
    assert row["back"] == "same bits"


def test_quick_models_are_in_the_table():
    assert set(QUICK) <= set(HOLD)


def test_page_of_the_zoo_is_the_stored_table():
    page = (ROOT / "docs/zoo.md").read_text(encoding="utf-8")
    assert page == render(ROWS), "run python benchmarks/zoo_conversion.py --page-only"


def test_page_gives_the_reason_that_was_recorded_whatever_the_name():
    found = (
        "InputError: this graph has 2 operators without a translation: _sg_conv (7 nodes, first a), _q_v2 (1 nodes, fir"
    )
    page = render([
        {"name": "one_int8", "verdict": "not converted", "why": found},
        {"name": "two_int8", "verdict": "not converted", "why": found.replace("7", "8")},
        {"name": "three_int8", "verdict": "not run", "why": "no input shape to try"},
        {"name": "four_gn", "verdict": "not run", "why": "Reshape"},
    ])  # fmt: skip
    assert "- `one_int8`, `two_int8`: not converted. No translation of `_q_v2`, `_sg_conv`\n" in page
    assert "- `three_int8`: not run. no input shape to try\n- `four_gn`: not run. Reshape\n" in page


def test_page_names_every_model_that_is_not_shown_to_hold():
    page = render([{"name": "a", "verdict": "holds"}, {"name": "b", "verdict": "red", "why": "too\nfar"},
                   {"name": "c", "verdict": NOT_TRIED}])  # fmt: skip
    assert (
        "- `b`: red. too far\n" in page
        and "- `c`: not tried.\n" in page
        and "3 names: 1 holds, 1 red, 1 not tried." in page
    )
