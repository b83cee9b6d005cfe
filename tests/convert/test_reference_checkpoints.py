"""Checkpoints as the reference writes them, `_test` copies included, converted and used."""

import numpy as np
import pytest
import torch

from tests.convert.checkpoints import NARROW, narrow
from weights_convert import load_params, to_mxnet, to_torch
from weights_convert.arrays import same_bits
from weights_convert.families import convert_params


@pytest.fixture(params=NARROW)
def saved(request, tmp_path):
    """(configuration, path) of a checkpoint that mxnet_ref initialised and saved."""
    pytest.importorskip("mxnet")
    from mxnet_ref import init_params, save_checkpoint

    cfg = narrow(request.param)
    arg, aux = init_params(cfg, seed=4)
    return cfg, save_checkpoint(tmp_path / "net", 7, arg, aux, cfg)


@pytest.mark.mxnet
def test_reference_checkpoint_goes_there_and_back(saved):
    cfg, path = saved
    params = load_params(path)
    back = to_mxnet(convert_params(params, cfg).tensors(), cfg)
    assert set(back.arg) == set(params.arg) and set(back.aux) == set(params.aux)
    for name, array in [*params.arg.items(), *params.aux.items()]:
        assert same_bits(array, (back.arg | back.aux)[name]), name


@pytest.mark.mxnet
def test_inference_weights_are_the_training_weights_un_normalised(saved):
    from torch_port.models import build_network

    cfg, path = saved
    params = load_params(path)
    trained = build_network(cfg)
    trained.load_state_dict(to_torch(params, cfg, use_test_weights=False))
    trained.head.unnormalise_boxes(cfg.TRAIN.BBOX_MEANS, cfg.TRAIN.BBOX_STDS)
    state = to_torch(params, cfg)
    assert not torch.equal(state["head.bbox_maps.weight"], to_torch(params, cfg, False)["head.bbox_maps.weight"])
    for part in ("weight", "bias"):
        ours = trained.state_dict()[f"head.bbox_maps.{part}"].numpy()
        np.testing.assert_array_equal(ours, state[f"head.bbox_maps.{part}"].numpy())
