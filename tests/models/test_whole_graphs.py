"""Whole graphs against the reference in MXNet: inference, and training with every weight after several updates."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.batch import training_batch
from dcn_tasks.config import load_config
from dcn_tasks.streams import Draws
from torch_port.layers import BatchNorm, DeformConv2d
from torch_port.models import build_network
from torch_port.training import training_for
from weights_convert import to_mxnet

STEPS = 3
FROZEN = {
    "network__USE_GLOBAL_STATS": True,
    "network__FIXED_PARAMS": ["conv1", "bn_conv1", "res2", "bn2", "gamma", "beta"],
}
CASES = {
    "deformable, batch statistics": ("demo/narrow_rfcn_dcn", {}),
    "plain, frozen as the original": ("demo/narrow_rfcn", FROZEN),
    "FPN, frozen as the original": ("demo/narrow_fpn_dcn", FROZEN),
    "deformable Faster R-CNN": ("demo/narrow_rcnn_dcn", {}),
    "plain Faster R-CNN": ("demo/narrow_rcnn", {}),
    "boxes that nothing divides": ("demo/narrow_rfcn", {"TRAIN__BBOX_NORMALIZATION_PRECOMPUTED": False}),
}


def lively_network(cfg):
    """The configuration's network in float64 with offsets that are not zero and scores that differ."""
    torch.manual_seed(0)
    network = build_network(cfg)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "offset" in name:
                parameter.normal_(std=0.02)
            elif name.startswith(("rpn.", "head.")) and parameter.dim() in (2, 4):
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        for name, buffer in network.named_buffers():
            buffer.normal_(std=0.1) if name.endswith("mean") else buffer.uniform_(50, 100)
    return network.double()


def example(cfg, draws):
    image = np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8)
    boxes = np.array([[10, 10, 50, 60, 1], [40, 30, 100, 90, 3]], float)
    return training_batch(image, boxes, cfg, draws)


def relative(found, expected):
    """Largest difference over the array's scale."""
    return np.abs(found.reshape(expected.shape) - expected).max() / max(np.abs(expected).max(), 1e-300)


def errors_after_updates(config, overrides, plant=lambda network, training: None, steps=STEPS):
    """name -> relative error of every output of every step, and of every array after the last; both run freely."""
    from reference_graphs import ReferenceTraining

    cfg = load_config(config, SCALES=[96, 128], TRAIN__warmup=True, TRAIN__warmup_step=3, **overrides)
    network = lively_network(cfg)
    training = training_for(network, cfg, updates_per_epoch=10)
    reference = ReferenceTraining(cfg, network.state_dict(), example(cfg, Draws(0, 1)), cfg.TRAIN.lr)
    plant(network, training)
    errors = {}
    for number in range(1, steps + 1):
        draws = Draws(0, number)
        batch = example(cfg, draws)
        expected = reference.step(batch, draws, training.schedule(number))
        outputs = training.step(batch, draws).outputs.arrays()
        errors |= {f"{name} of step {number}": relative(outputs[name], array) for name, array in expected.items()}
    after = to_mxnet(network.state_dict(), cfg)
    found, arrays = {**after.arg, **after.aux}, reference.arrays()
    compared = found.keys() & arrays.keys()
    assert len(compared) == len(arrays) - 6  # all but the six inputs
    return errors | {name: relative(np.asarray(found[name]), arrays[name]) for name in compared}


@pytest.mark.mxnet
@pytest.mark.parametrize("config, overrides", CASES.values(), ids=CASES.keys())
def test_three_free_running_updates_are_mxnets(config, overrides):
    errors = errors_after_updates(config, overrides)
    assert {name: error for name, error in errors.items() if error > FLOAT64_SAME_FUNCTION} == {}


def decay_everything(network, training):
    for group in training.optimizer.param_groups:
        group["weight_decay"] = 5e-4


def set_everywhere(kind, **attributes):
    def plant(network, training):
        for module in network.modules():
            if isinstance(module, kind):
                for name, value in attributes.items():
                    setattr(module, name, value)

    return plant


def set_in_groups(**values):
    return lambda network, training: [group.update(values) for group in training.optimizer.param_groups]


MISTAKES = {
    "eps 2e-5": set_everywhere(BatchNorm, eps=2e-5),
    "PyTorch's momentum": set_everywhere(BatchNorm, momentum=0.1),
    "border of torchvision": set_everywhere(DeformConv2d, border="zeros"),
    "RPN loss with the head's sigma": lambda network, training: setattr(network.losses.rpn_bbox, "sigma", 1.0),
    "one hard RoI less": lambda network, training: setattr(network.hard_rois, "rois_per_image", 31),
    "no lr_mult": set_in_groups(lr_mult=1.0),
    "decayed biases": decay_everything,
    "momentum 0.89": set_in_groups(momentum=0.89),
}


@pytest.mark.mxnet
@pytest.mark.parametrize("plant", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_planted_mistake_is_seen(plant):
    errors = errors_after_updates(*CASES["deformable, batch statistics"], plant, steps=2)
    assert max(errors.values()) > 1e4 * FLOAT64_SAME_FUNCTION


@pytest.mark.mxnet
def test_fully_connected_offsets_at_the_full_rate_are_seen():
    plant = set_in_groups(lr_mult=1.0)
    errors = errors_after_updates(*CASES["deformable Faster R-CNN"], plant, steps=2)
    assert errors["offset_weight"] > 1e4 * FLOAT64_SAME_FUNCTION


@pytest.mark.mxnet
@pytest.mark.parametrize(
    "config", ["demo/narrow_rfcn_dcn", "demo/narrow_rfcn", "demo/narrow_rcnn_dcn", "demo/narrow_rcnn"]
)
def test_inference_is_mxnets(config):
    from reference_graphs import reference_inference

    cfg = load_config(config, SCALES=[96, 128])
    network = lively_network(cfg).eval()
    batch = example(cfg, Draws(0))
    inputs = {name: batch[name].astype("float64") for name in ("data", "im_info")}
    expected = reference_inference(cfg, network.state_dict(), inputs, Draws(4))
    with torch.inference_mode():
        outputs = network(*map(torch.tensor, inputs.values()), Draws(4))
    for name, found, array in zip(("rois", "cls_prob", "bbox_pred"), outputs, expected, strict=True):
        assert relative(found.numpy(), array) <= FLOAT64_SAME_FUNCTION, name
