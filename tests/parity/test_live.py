"""Parity with MXNet itself: recorded afresh, a whole training, a converted checkpoint."""

import numpy as np
import pytest

from dcn_suite.parity.record import record
from dcn_suite.parity.run import Settings, run_parity
from dcn_suite.parity.trajectory import run_trajectory
from dcn_suite.parity.verify import verify
from dcn_tasks.config import load_config
from dcn_tasks.recording import Recording
from tests.parity.conftest import CONFIG, SHIPPED, SIZE
from weights_convert import Params, convert_params, save_weights

pytestmark = pytest.mark.mxnet
SHIPPED_SEED = 4


def checkpoint(cfg) -> Params:
    """Calibrated random weights with their `_test` copies."""
    import mxnet_ref
    from dcn_suite.parity.photo import photo_of

    arg, aux = mxnet_ref.calibrated_init(cfg, photo_of(*SIZE), SHIPPED_SEED)
    return Params(arg=mxnet_ref.with_test_copies(arg, cfg), aux=aux)


def test_narrow_networks_hold_forward_and_backward():
    for config in ("demo/narrow_rfcn_dcn", "demo/narrow_rfcn"):
        result = run_parity(config, Settings((128, 160), grad=True))
        assert [row.what for row in result.table.red] == []
        assert {"isolated", "chained", "detections"} <= {row.check for row in result.table.judged}


def test_forward_alone_needs_no_training_graph():
    result = run_parity("demo/narrow_rfcn_dcn", Settings((96, 128)))
    assert result.table.holds
    assert not any(row.quantity.startswith("d ") for row in result.table)


def test_recording_again_gives_the_shipped_network(tmp_path):
    """The same weights, inputs and graphs; rounding may differ between processors, decisions and float64 hardly."""
    live = record(load_config(CONFIG), tmp_path, name=CONFIG, size=SIZE, grad=True, seed=SHIPPED_SEED)
    shipped = Recording(SHIPPED)
    assert live.about["graphs"] == shipped.about["graphs"]
    for name in ("train/inputs/data", "train/inputs/label", "parameters/arg:conv1_weight", "train/float64/rois"):
        np.testing.assert_allclose(live.recording[name], shipped[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_training_without_the_learning_rate_multiplier_is_noticed():
    def spoil(network):
        network.head.reduce.lr_mult = 1.0

    red = run_trajectory(CONFIG, Settings(SIZE, spoil=spoil), steps=3).table.red
    assert red
    assert red[0].node == "update 2"  # the first update starts from the same weights


def test_a_network_of_another_data_set_trains_on_generated_scenes():
    cfg = load_config(CONFIG, dataset__dataset="PascalVOC", dataset__NUM_CLASSES=21, dataset__CLASS_NAMES=[])
    table = run_trajectory(cfg, Settings(SIZE), steps=2).table
    assert table.holds and sum(row.quantity == "RCNNLogLoss float64" for row in table.judged) == 2


def test_a_selection_of_its_own_is_noticed_in_float64():
    """Where float32 replays MXNet's selections."""

    def spoil(network):
        network.hard_rois.rois_per_image -= 1

    red = run_trajectory(CONFIG, Settings(SIZE, spoil=spoil), steps=2).table.red
    assert [row.got for row in red if row.quantity == "selections"] == [2], "from the first update on"


def test_a_converted_file_is_verified(tmp_path):
    cfg = load_config(CONFIG)
    params = checkpoint(cfg)
    weights = tmp_path / "model.safetensors"
    save_weights(weights, convert_params(params, cfg).tensors(), {})
    result = verify(params, cfg, weights, out=tmp_path / "report", size=SIZE)
    assert result["verdict"] == "holds"
    assert (tmp_path / "report" / "report.html").is_file()


def test_a_file_of_other_weights_does_not_verify(tmp_path):
    cfg = load_config(CONFIG)
    params = checkpoint(cfg)
    weights = tmp_path / "model.safetensors"
    tensors = convert_params(params, cfg).tensors()
    tensors["head.cls_maps.bias"] = tensors["head.cls_maps.bias"] + 1e-6
    save_weights(weights, tensors, {})
    result = verify(params, cfg, weights, size=SIZE)
    assert result["verdict"] == "does not hold"
    assert next(row for row in result["rows"] if row["verdict"] == "red")["node"] == "rfcn_cls"
