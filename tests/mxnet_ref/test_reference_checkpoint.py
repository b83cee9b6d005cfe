"""Checkpoints carry normalised and un-normalised box weights, as the original's do."""

import numpy as np
import pytest
from tiny_network import tiny

from dcn_tasks.errors import InputError

pytestmark = pytest.mark.mxnet
STDS = [0.1, 0.1, 0.2, 0.2]
MEANS = [0.5, 0.0, -1.0, 0.0]


@pytest.fixture
def parameters():
    """Two slots of four targets, 3x3 bins: channel (slot * 4 + target) * 9 + bin."""
    rng = np.random.default_rng(0)
    arg = {
        "rfcn_bbox_weight": rng.normal(size=(72, 12, 1, 1)).astype(np.float32),
        "rfcn_bbox_bias": rng.normal(size=72).astype(np.float32),
        "rfcn_cls_weight": rng.normal(size=(45, 12, 1, 1)).astype(np.float32),
    }
    return arg, {"bn_conv1_moving_mean": rng.normal(size=8).astype(np.float32)}


def test_box_weights_are_unnormalised_channel_by_channel(parameters):
    from mxnet_ref import with_test_copies

    arg, _ = parameters
    copies = with_test_copies(arg, tiny(TRAIN__BBOX_STDS=STDS, TRAIN__BBOX_MEANS=MEANS))
    for channel in range(72):
        target = channel // 9 % 4
        weight = arg["rfcn_bbox_weight"][channel] * np.float32(STDS[target])
        bias = arg["rfcn_bbox_bias"][channel] * np.float32(STDS[target]) + np.float32(MEANS[target])
        assert (copies["rfcn_bbox_weight_test"][channel] == weight).all()
        assert copies["rfcn_bbox_bias_test"][channel] == bias


def test_round_trip_keeps_training_weights_and_process_swaps_them(tmp_path, parameters):
    from mxnet_ref import load_checkpoint, save_checkpoint, with_test_copies

    cfg = tiny()
    path = save_checkpoint(tmp_path / "net", 7, *parameters, cfg)
    assert path.name == "net-0007.params"
    arg, aux = load_checkpoint(tmp_path / "net", 7, process=False)
    expected = with_test_copies(parameters[0], cfg)
    assert arg.keys() == expected.keys() and aux.keys() == parameters[1].keys()
    assert all((arg[name] == expected[name]).all() and arg[name].dtype == np.float32 for name in arg)
    swapped, _ = load_checkpoint(tmp_path / "net", 7, process=True)
    assert swapped.keys() == parameters[0].keys()
    assert (swapped["rfcn_bbox_weight"] == expected["rfcn_bbox_weight_test"]).all()
    assert (swapped["rfcn_cls_weight"] == arg["rfcn_cls_weight"]).all()


def test_file_is_readable_by_the_converters_own_reader(tmp_path, parameters):
    from mxnet_ref import save_checkpoint
    from weights_convert import load_params

    path = save_checkpoint(tmp_path / "net", 0, *parameters, tiny())
    found = load_params(path)
    assert (found.arg["rfcn_cls_weight"] == parameters[0]["rfcn_cls_weight"]).all()
    assert set(found.aux) == {"bn_conv1_moving_mean"}


def test_momentum_round_trip(tmp_path):
    from mxnet_ref.checkpoint import load_momentum, save_momentum

    path = save_momentum(tmp_path / "net", 2, {"conv1_weight": np.arange(6, dtype=np.float32)})
    assert path.name == "net-0002.states.params"
    assert (load_momentum(tmp_path / "net", 2)["conv1_weight"] == np.arange(6)).all()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all, only text", None])
def test_broken_or_missing_file_is_an_input_error_that_names_it(tmp_path, content):
    from mxnet_ref import load_checkpoint

    if content is not None:
        (tmp_path / "net-0000.params").write_bytes(content)
    with pytest.raises(InputError, match=r"net-0000\.params: expected an MXNet checkpoint"):
        load_checkpoint(tmp_path / "net", 0)


def test_arrays_without_prefixes_are_refused(tmp_path):
    from mxnet_ref import load_checkpoint
    from mxnet_ref.checkpoint import save_arrays

    save_arrays(tmp_path / "net-0000.params", {"conv1_weight": np.zeros(2, np.float32)})
    with pytest.raises(InputError, match="arg:"):
        load_checkpoint(tmp_path / "net", 0)
