"""`dcn complexity` counts what the networks hold, as MXNet and PyTorch themselves count it; docs/complexity.md says the same."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dcn_suite.cli.main import main
from dcn_suite.complexity import hypotheses, page
from dcn_suite.complexity.count import count
from dcn_suite.complexity.rows import paper_rows
from dcn_suite.complexity.table import counted_rows
from dcn_tasks.config import load_config

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "complexity.md"
BUILT = [row for row in paper_rows() if row.built]


@pytest.fixture(scope="module")
def rows():
    return counted_rows()


def test_r_fcn_by_hand(rows):
    (row,) = (row for row in rows[0] if row.row.name == "R-FCN")
    plain, deformable = row.counts
    classes, bins, width = 21, 49, 1024
    assert plain.parts["head"] == 2048 * width + width + (width + 1) * bins * (classes + 8)
    assert plain.parts["region proposals"] == 512 * (1024 * 9 + 1) + (512 + 1) * 6 * 9
    assert deformable.parts["offsets of convolutions"] == 3 * 18 * (512 * 9 + 1)
    assert deformable.parts["offsets of RoI pooling"] == (width + 1) * (2 * bins * classes + 2 * bins)
    assert plain.statistics == plain.parts["normalisation"] == 2 * 52_672
    assert row.counted(0) == pytest.approx((plain.total - plain.parts["region proposals"]) / 1e6)


def test_only_the_papers_figures_are_not_counted_here(rows):
    for row in rows[0]:
        for variant in (0, 1):
            assert 0.5 < row.gap(variant) < 1.5, "the surplus that no row explains"


@pytest.mark.mxnet
@pytest.mark.parametrize("row", BUILT, ids=lambda row: row.name)
@pytest.mark.parametrize("variant", [0, 1])
def test_mxnet_graph_holds_as_many(row, variant):
    from dcn_tasks.task import SEGMENTATION, task_of
    from mxnet_ref import build_symbol
    from mxnet_ref.executor import parameter_shapes

    cfg = row.load(variant)
    inputs = {"data": (1, 3, 224, 224)}
    inputs |= {"softmax_label": (1, 1, 224, 224)} if task_of(cfg) is SEGMENTATION else {"im_info": (1, 3)}
    symbol = build_symbol(cfg, False)
    asked = symbol.list_arguments()
    arg, aux = parameter_shapes(symbol, {name: shape for name, shape in inputs.items() if name in asked})
    counted = count(cfg)
    assert sum(int(np.prod(shape)) for shape in arg.values()) == counted.total
    assert sum(int(np.prod(shape)) for shape in aux.values()) == counted.statistics


@pytest.mark.parametrize("name", ["demo/narrow_rfcn", "demo/narrow_deeplab", "demo/narrow_fpn"])
def test_multiply_adds_are_those_of_pytorchs_own_counter(name):
    from torch_port.models import build_network

    cfg = load_config(name)
    torch.manual_seed(0)
    network = build_network(cfg).eval()
    data = torch.rand(1, 3, 192, 256)
    inputs = (data,) if "deeplab" in name else (data, torch.tensor([[192.0, 256.0, 1.0]]))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    assert count(cfg, size=(192, 256)).multiply_adds == counter.get_total_flops() / 2


def test_deformable_layers_multiply_as_their_plain_ones():
    plain, deformable = (
        count(load_config(f"demo/{name}"), size=(192, 256)) for name in ("narrow_rfcn", "narrow_rfcn_dcn")
    )
    cells, rois_maps = 12 * 16, 12 * 16
    offsets = 72 * 64 * 9 * cells + 96 * (2 * 9 * 5 + 2 * 9) * rois_maps
    assert deformable.multiply_adds - plain.multiply_adds == offsets


def test_page_in_docs_holds(rows):
    """docs/complexity.md comes out again: `dcn complexity --page docs/complexity.md` writes it."""
    assert page.render(*rows) == DOCUMENT.read_text(encoding="utf-8")


def test_what_the_papers_differences_leave_for_offset_convolutions(rows):
    bounds = {name: (least, most) for name, least, most in hypotheses.offset_bounds(rows[0])}
    assert bounds["DeepLab@V"] == pytest.approx((0.0, 0.2))
    pooling = 98 * (256 * 49 + 1) / 1e6  # one fully connected layer
    assert bounds["Faster R-CNN"] == pytest.approx((1.5 - pooling, 1.7 - pooling))
    assert bounds["Faster R-CNN"][0] > bounds["DeepLab@V"][1]


def test_a_constant_is_found_where_there_is_one_and_only_there(rows):
    found = {each.name: each.constant(rows[0]) for each in hypotheses.HYPOTHESES}
    assert found["by the rule above"] is None
    least, most = found["box regression left out, class-aware RPN as DeepLab"]
    (rfcn,) = (row for row in rows[0] if row.row.name == "R-FCN")
    assert least == pytest.approx(47.1 - 0.05 - (rfcn.counts[0].without(("region proposals",)) - 1025 * 392) / 1e6)
    assert least < most
    shifted = hypotheses.Hypothesis("2 M less everywhere", lambda row, v: row.row.million_parameters[v] - 2)
    assert shifted.constant(rows[0]) == pytest.approx((1.95, 2.05))
    assert (shifted.met(rows[0]), shifted.met(rows[0], 2)) == ("0 of 10", "10 of 10")


def test_networks_that_are_not_built_are_named(rows, capsys):
    assert main(["complexity", "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["not built"] == [row.name for row in rows[1]]
    for row in rows[1]:
        assert f"{row.name}: skipped" in captured.err
    assert [row["network"] for row in result["rows"]] == [row.row.name for row in rows[0]]


def test_configuration_is_counted_and_timed(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(["complexity", "demo/narrow_rfcn_dcn", "--time", "--turns", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    counted = result["configs"]["demo/narrow_rfcn_dcn"]
    from torch_port.models import build_network

    network = build_network(load_config("demo/narrow_rfcn_dcn"))
    assert counted["total"] == sum(parameter.numel() for parameter in network.parameters())
    assert result["environment"]["OMP_NUM_THREADS"] == "1"
    for timing in result["timings"]:
        assert timing["forward_s"] > 0 and timing["overall_s"] > 0
    assert "torch" in {timing["framework"] for timing in result["timings"]}


def test_page_is_written_and_wrong_usage_is_one_sentence(tmp_path, capsys):
    target = tmp_path / "page.md"
    assert main(["complexity", "--page", str(target)]) == 0
    assert target.read_text(encoding="utf-8").startswith("# Parameters and run time")
    capsys.readouterr()
    for words in (["--page", "x.md", "--time"], ["--turns", "0"], ["no/such_config"], ["--row", "complexity/fpn"]):
        assert main(["complexity", *words]) == 2
        assert capsys.readouterr().err.startswith("dcn complexity: ")
