"""Every wrong turn of docs/porting_traps.md turns its own node red against MXNet's recording; the page's figures are stored ones."""

import numpy as np
import pytest
import torch

from dcn_suite.parity.isolated import isolated_rows
from dcn_suite.parity.mistakes import MISTAKES, Mistake
from dcn_suite.parity.reference import Reference
from dcn_suite.parity.rows import RED
from dcn_suite.parity.run import Bench, Settings
from dcn_suite.parity.traps import LABEL_MISTAKES, anchor_cost, label_costs
from dcn_tasks.config import load_config
from dcn_tasks.recording import Recording
from tests.parity.conftest import CONFIG, SHIPPED, SIZE
from torch_port.models import build_network


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(Recording(SHIPPED))


def red_quantities(reference: Reference, mistake: Mistake, spoil) -> list[str]:
    """What is red of the mistake's node, alone, with and without the mistake."""
    settings = Settings(SIZE, use_test_weights=not (spoil and mistake.normalised), spoil=spoil)
    bench = Bench(reference, load_config(CONFIG), settings)
    kind = "test" if mistake.normalised else "train"  # a node of both graphs is recorded in the training graph
    segments, _ = bench.segments(kind)
    (segment,) = (each for each in segments if each.name == mistake.node)
    ports = {dtype: bench.judged_port(kind, dtype) for dtype in ("float32", "float64")}
    (rows,) = isolated_rows(reference, ports, [segment], kind=kind, grad=False)
    return [row.quantity for row in rows if row.verdict == RED]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_the_turn_is_noticed_at_its_own_node(reference, mistake):
    assert red_quantities(reference, mistake, None) == []
    red = red_quantities(reference, mistake, mistake.spoil)
    assert red
    if mistake.probe:
        assert all(mistake.probe in quantity for quantity in red)  # nothing else would have shown it


def test_wrong_upsampling_of_deeplab_changes_what_it_says():
    """The right one is MXNet's: tests/layers/test_dense_layers.py and the parity of DeepLab."""
    cfg = load_config("demo/narrow_deeplab")
    torch.manual_seed(0)
    network = build_network(cfg)
    torch.nn.init.normal_(network.head.score.weight, std=1.0)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    costs = label_costs(cfg, network, image, lambda text: None)
    assert [row["id"] for row in costs] == [mistake.id for mistake in LABEL_MISTAKES]
    for row in costs:
        assert row["probability"] > 1e-3, row["id"]


def test_half_up_rounding_makes_another_anchor_at_stride_32():
    cost = anchor_cost()
    assert cost["heights_px"] == [176, 184] and 0.9 < cost["iou"] < 1
