"""The registry of table rows: complete, every figure the published one, every configuration loads."""

import re

import pytest

from dcn_suite.reproduce.registry import DATA, TABLES, Row, find_row, find_table, tables
from dcn_tasks.config import to_plain
from dcn_tasks.errors import InputError

ROWS = {"ablation-layers": 25, "dilation": 29, "effective-dilation": 3, "complexity": 5, "coco": 14, "imagenet": 3,
        "readme-voc": 2, "readme-coco": 4, "readme-fpn": 4, "readme-deeplab": 4, "mnist": 2, "small-data": 10}  # fmt: skip
SYSTEMS = ("deeplab", "class-aware-rpn", "faster-rcnn", "rfcn")  # columns of the specification's lines, in their order


def all_rows() -> list[Row]:
    return [row for table in tables() for row in table.rows]


def test_every_table_has_its_rows():
    assert {table.id: len(table.rows) for table in tables()} == ROWS
    assert len({row.id for row in all_rows()}) == sum(ROWS.values())


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_figures_their_source_and_what_it_needs(table):
    for row in find_table(table).rows:
        assert row.columns and row.source and row.title and row.cost, row.id
        assert bool(row.published) != bool(row.own), row.id
        assert row.data in DATA, row.id
        assert all(isinstance(value, float | int) for value in row.published.values()), row.id
        assert row.frameworks == ("torch",) if table == "complexity" else set(row.frameworks) == {"mxnet", "torch"}


@pytest.mark.parametrize("table", [name for name in TABLES if find_table(name).rows[0].runs == "training"])
def test_configuration_of_every_row_loads(table):
    for row in find_table(table).rows:
        assert to_plain(row.load())["symbol"], row.id


@pytest.mark.parametrize(
    "id, deformable, dilation",
    [
        ("ablation-layers/rfcn-0", (), 2),
        ("ablation-layers/rfcn-1", ("res5c",), 2),
        ("ablation-layers/faster-rcnn-6", ("res4b20", "res4b21", "res4b22", "res5a", "res5b", "res5c"), 2),
        ("dilation/rfcn-6", (), 6),
        ("dilation/class-aware-rpn-deformable", ("res5a", "res5b", "res5c"), 2),
        ("small-data/bccd-plain", (), 2),
        ("small-data/raccoon-both", ("res5a", "res5b"), 2),
        ("small-data/camvid-deformable", ("res5a", "res5b"), 2),
    ],
)
def test_configuration_is_what_the_row_says(id, deformable, dilation):
    from dcn_tasks.network import NetworkSpec

    spec = NetworkSpec.from_config(find_row(id).load())
    assert (tuple(spec.deform_conv_units), spec.res5_dilation) == (deformable, dilation)


def test_figures_are_the_specifications(spec_folder):
    """Tables 1, 3 and 5 as one line of text each: DeepLab VOC/City | class-aware RPN | Faster R-CNN | R-FCN, at 0.5/0.7."""
    text = (spec_folder / "original_dcn.md").read_text(encoding="utf-8")
    text = " ".join(text.partition("### 3.2")[2].partition("### 3.3")[0].split())
    layers, dilations = text.partition("T2")[0], text.partition("T3")[2].partition("T4")[0]
    found = {
        ("ablation-layers", count): line for count, line in re.findall(r"(\d)(?: \(default\))?: ([\d./| ]+\d)", layers)
    }
    found |= {("dilation", by): line for by, line in re.findall(r"(?:atrous )?(\d): ([\d./| ]+\d)", dilations)}
    assert len(found) == 5 + 3
    for (table, variant), figures in found.items():
        for system, pair in zip(SYSTEMS, figures.split("|"), strict=True):
            first, second = (float(value) for value in pair.strip().split("/"))
            if system == "deeplab":
                got = [find_row(f"{table}/deeplab-{where}-{variant}").published for where in ("voc", "cityscapes")]
                assert got == [{"mIoU": first}, {"mIoU": second}]
            else:
                assert find_row(f"{table}/{system}-{variant}").published == {"mAP@0.5": first, "mAP@0.7": second}


def test_coco_figures_are_the_specifications(spec_folder):
    text = (spec_folder / "original_dcn.md").read_text(encoding="utf-8")
    text = " ".join(text.partition("T5 COCO test-dev")[2].partition("Schedules")[0].split())
    names = ("class-aware-rpn", "faster-rcnn", "rfcn", "faster-rcnn-air", "rfcn-air", "rfcn-air-m", "rfcn-air-mb")
    pairs = re.findall(r"([\d./]+) → ([\d./]+)[;.]", text)
    assert len(pairs) == len(names)
    for name, pair in zip(names, pairs, strict=True):
        for row, figures in zip((name, f"{name}-dcn"), pair, strict=True):
            values = [float(value) for value in figures.rstrip(".").split("/")]
            assert list(find_row(f"coco/{row}").published.values()) == values, row


def test_unknown_names_are_refused_with_the_nearest_ones():
    with pytest.raises(InputError, match="near: ablation-layers/rfcn-3"):
        find_row("ablation-layers/rfcn3")
    with pytest.raises(InputError, match="no such table; near: mnist"):
        find_table("mnst")


def test_variants_of_a_small_set_differ_in_what_is_deformable_alone():
    rows = {row.name: to_plain(row.load()) for row in find_table("small-data").rows}
    for name, values in rows.items():
        plain = rows[f"{name.partition('-')[0]}-plain"]
        wanted = {
            "DEFORM_CONV_UNITS": ["res5a", "res5b"] if name.endswith(("-deformable", "-both")) else None,
            "DEFORM_ROI_POOLING": True if name.endswith(("-roi-pooling", "-both")) else None,
        }
        assert values == plain | {"network": plain["network"] | wanted}, name
