"""A hundred training steps in both frameworks, in float32 with MXNet's decisions replayed, in float64 with nothing: the same
losses, the same weights in the end."""

import pytest
from tolerances import HUNDRED_STEPS_LOSS

from dcn_suite.parity.run import Settings
from dcn_suite.parity.trajectory import run_trajectory

pytestmark = [pytest.mark.mxnet, pytest.mark.slow]
NETWORKS = ("narrow_rfcn_dcn", "narrow_rcnn_dcn", "narrow_fpn_dcn", "narrow_deeplab_dcn")


@pytest.mark.parametrize("network", NETWORKS)
def test_a_hundred_steps_end_at_the_same_weights(network):
    result = run_trajectory(
        f"demo/{network}", Settings((1, 1)), steps=100, loss_tolerance=HUNDRED_STEPS_LOSS, curves=True
    )
    assert [row.what for row in result.table.red] == []
    for weights in (row for row in result.table.judged if row.quantity == "weights"):
        assert 0 < weights.got < weights.tolerance, "trained, and not a copy"
    curves = result.facts["curves"].values()
    assert any(lines["selections"] != lines["replayed"] for lines in curves), (
        "the former takes fewer of MXNet's decisions"
    )
    for lines in curves:
        assert {len(values) for values in lines.values()} == {100}
        assert lines["mxnet"][0] != lines["mxnet"][-1]
