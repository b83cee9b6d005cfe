"""Twenty training steps of every system's narrow network in both frameworks: in float32 with MXNet's decisions replayed, in
float64 with nothing replayed."""

import pytest

from dcn_suite.parity.run import Settings
from dcn_suite.parity.trajectory import run_trajectory
from dcn_tasks.config import load_config
from dcn_tasks.task import task_of

pytestmark = pytest.mark.mxnet
STEPS = 20
NETWORKS = (
    "rfcn",
    "rfcn_dcn",
    "rcnn",
    "rcnn_dcn",
    "fpn",
    "fpn_dcn",
    "class_aware_rpn",
    "class_aware_rpn_dcn",
    "deeplab",
    "deeplab_dcn",
    "aligned_rfcn",
    "aligned_rfcn_dcn",
    "aligned_rcnn",
    "aligned_rcnn_dcn",
    "rfcn_dcnv2",
    "rcnn_dcnv2",
)


@pytest.mark.parametrize("network", NETWORKS)
def test_twenty_training_steps_have_the_same_losses(network):
    config = f"demo/narrow_{network}"
    table = run_trajectory(config, Settings(tuple(load_config(config).SCALES[0])), steps=STEPS).table
    assert [row.what for row in table.red] == []
    losses = task_of(load_config(config)).losses
    for quantity in (*losses, *(f"{name} float64" for name in losses), "decisions"):
        assert sum(row.quantity == quantity for row in table.judged) == STEPS, quantity
    for quantity, count in (("selections", 1), ("weights", 2)):
        assert sum(row.quantity == quantity for row in table.judged) == count
    assert any(row.got != row.expected for row in table.judged if row.quantity.endswith("float64")), "not a copy"
