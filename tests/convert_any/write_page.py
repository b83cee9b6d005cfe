"""Writes docs/operators.md: `python -m tests.convert_any.write_page`."""

from pathlib import Path

from tests.convert_any.cases import CASES
from tests.convert_any.test_operators import UNTRIED
from weights_convert.translate.operators_page import render

PAGE = Path(__file__).resolve().parents[2] / "docs/operators.md"

if __name__ == "__main__":
    PAGE.write_text(render(CASES, UNTRIED), encoding="utf-8")
