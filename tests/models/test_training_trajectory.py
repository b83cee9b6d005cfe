"""Whole training steps against the reference graph in MXNet: outputs, then every weight after several updates."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.batch import training_batch
from dcn_tasks.config import load_config
from dcn_tasks.streams import Draws
from torch_port.models import build_network
from torch_port.training import training_for
from weights_convert import to_mxnet

STEPS = 3
CASES = {
    "deformable, batch statistics": ("demo/narrow_rfcn_dcn", {}),
    "plain, frozen as the original": (
        "demo/narrow_rfcn",
        {
            "network__USE_GLOBAL_STATS": True,
            "network__FIXED_PARAMS": ["conv1", "bn_conv1", "res2", "bn2", "gamma", "beta"],
        },
    ),
}


def lively_network(cfg):
    """The configuration's network in float64 with offsets that are not zero and scores that differ."""
    torch.manual_seed(0)
    network = build_network(cfg)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "offset" in name:
                parameter.normal_(std=0.02)
            elif name.startswith(("rpn.", "head.")) and parameter.dim() == 4:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        for name, buffer in network.named_buffers():
            buffer.normal_(std=0.1) if name.endswith("mean") else buffer.uniform_(50, 100)
    return network.double()


def example(cfg, draws):
    image = np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8)
    boxes = np.array([[10, 10, 50, 60, 1], [40, 30, 100, 90, 3]], float)
    return training_batch(image, boxes, cfg, draws)


def assert_close(found, expected, name, tolerance):
    assert np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-300), name


@pytest.mark.mxnet
@pytest.mark.parametrize("config, overrides", CASES.values(), ids=CASES.keys())
def test_three_free_running_updates_are_mxnets(config, overrides):
    from mxnet_training import ReferenceTraining

    cfg = load_config(config, SCALES=[96, 128], TRAIN__warmup=True, TRAIN__warmup_step=3, **overrides)
    network = lively_network(cfg)
    training = training_for(network, cfg, updates_per_epoch=10)
    reference = ReferenceTraining(cfg, network.state_dict(), example(cfg, Draws(0, 1)), cfg.TRAIN.lr)
    for number in range(1, STEPS + 1):
        draws = Draws(0, number)
        batch = example(cfg, draws)
        expected = reference.step(batch, draws, training.schedule(number))
        outputs = training.step(batch, draws).outputs.arrays()
        for name, array in expected.items():
            assert_close(outputs[name].reshape(array.shape), array, f"{name} of step {number}", FLOAT64_SAME_FUNCTION)
    after = to_mxnet(network.state_dict(), cfg)
    arrays = reference.arrays()
    compared = {**after.arg, **after.aux}.keys() & arrays.keys()
    assert len(compared) == len(arrays) - 6  # all but the six inputs
    for name in compared:
        assert_close({**after.arg, **after.aux}[name], arrays[name], name, FLOAT64_SAME_FUNCTION)
