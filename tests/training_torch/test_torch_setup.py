"""A configuration's optimiser, schedule and fixed parameters; and a training on generated batches that learns."""

import numpy as np
import pytest
import torch

from dcn_tasks.batch import training_batch
from dcn_tasks.config import load_config
from torch_port.models import build_network
from torch_port.training import load_for_detection, save_checkpoint, shuffled, train, training_for

VOC = "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem"
DEMO = load_config("demo/narrow_rfcn_dcn", SCALES=[96, 96])


def test_voc_schedule_and_optimiser_are_the_configurations():
    cfg = load_config(VOC)
    with torch.device("meta"):
        network = build_network(cfg)
    training = training_for(network, cfg, updates_per_epoch=1000)
    rates = {update: training.schedule(update) for update in (999, 1000, 4830, 4831)}
    assert rates == {999: 5e-5, 1000: 5e-4, 4830: 5e-4, 4831: pytest.approx(5e-5)}
    groups = {group["name"]: group for group in training.optimizer.param_groups}
    assert groups["head.reduce.weight"]["lr_mult"] == groups["head.reduce.bias"]["lr_mult"] == 3.0
    assert groups["rpn.conv.weight"]["weight_decay"] == 0.0005
    assert groups["rpn.conv.bias"]["weight_decay"] == 0.0
    assert groups["rpn.conv.weight"]["momentum"] == 0.9
    assert not any(".bn" in name or ".stem." in name or ".stage2." in name for name in groups)


def test_training_on_one_image_lowers_its_loss():
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    boxes = np.array([[8, 8, 48, 48, 1], [40, 50, 90, 90, 2]], float)
    losses = []
    cfg = load_config(DEMO, TRAIN__warmup=False, TRAIN__lr=0.02)
    train(
        training_for(build_network(cfg), cfg, updates_per_epoch=40),
        shuffled(lambda index, draws: training_batch(image, boxes, cfg, draws), 1, seed=0),
        steps=30,
        on_step=lambda step: losses.append(step.outputs.loss.item()),
        progress=False,
    )
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])


def test_a_checkpoint_loaded_for_detection_predicts_plain_deltas(tmp_path):
    trained, loaded = build_network(DEMO), build_network(DEMO)
    save_checkpoint(tmp_path / "a.safetensors", trained, None, step=1, config={})
    load_for_detection(tmp_path / "a.safetensors", loaded, DEMO)
    stds = torch.tensor(DEMO.TRAIN.BBOX_STDS).repeat(2).repeat_interleave(9)
    torch.testing.assert_close(loaded.head.bbox_maps.weight, trained.head.bbox_maps.weight * stds[:, None, None, None])
    assert torch.equal(loaded.rpn.bbox_pred.weight, trained.rpn.bbox_pred.weight)
