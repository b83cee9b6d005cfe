"""What the documents state in figures is what the code says."""

import json
import re
from pathlib import Path

import numpy as np

from dcn_suite.parity.mistakes import MISTAKES
from dcn_suite.parity.traps import LABEL_MISTAKES, render
from dcn_tasks.config import load_config
from weights_convert import rules_for

DOCS = Path(__file__).resolve().parents[1] / "docs"
FC1000 = 2048 * 1000 + 1000  # the ImageNet classifier, in the backbone file only


def test_sizes_of_the_originals_checkpoints_follow_from_the_rules():
    lines = (DOCS / "pretrained.md").read_text(encoding="utf-8").splitlines()
    rows = [match for line in lines if (match := re.fullmatch(r"\| `(\S+)` \| `(\S+)` \| (\d+) \| ([\d.]+) \|", line))]
    assert len(rows) >= 8
    for row in rows:
        names = rules_for(load_config(row[2])).file_names()
        assert len(names) == int(row[3]), row[1]
        elements = sum(int(np.prod(entry.shape)) for entry in names.values())
        assert f"{4 * elements / 1e6:.1f}" == row[4], row[1]


def test_size_of_the_backbone_file_follows_from_the_rules():
    entries = rules_for(load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem")).entries.values()
    backbone = [int(np.prod(entry.shape)) for entry in entries if entry.in_backbone_file]
    expected = f"| {len(backbone) + 2} | {4 * (sum(backbone) + FC1000) / 1e6:.1f} |"
    (line,) = (
        line
        for line in (DOCS / "pretrained.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `resnet_v1_101-0000.params`")
    )
    assert line.endswith(expected)


def test_page_of_wrong_turns_is_the_stored_figures_and_names_every_turn():
    """`python benchmarks/porting_traps.py --page-only` writes it."""
    stored = json.loads((DOCS.parent / "benchmarks/results/porting_traps.json").read_text(encoding="utf-8"))
    assert (DOCS / "porting_traps.md").read_text(encoding="utf-8") == render(stored)
    assert [row["id"] for row in stored["detection"]] == [mistake.id for mistake in MISTAKES]
    assert [row["id"] for row in stored["labels"]] == [mistake.id for mistake in LABEL_MISTAKES]
    for row in stored["detection"]:
        assert row["lost"] or row.get("layer_error"), f"{row['id']}: a turn that costs nothing is no wrong turn"
