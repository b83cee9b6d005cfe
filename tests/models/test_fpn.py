"""FPN: what the network gives, decisions that can be replayed, rates and boxes of the original."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT32_NETWORK, FOLDED_PROBABILITY, FOLDED_ROI_PIXELS

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.scenes import scene_source
from dcn_tasks.streams import Draws
from dcn_tasks.task import task_of
from torch_port.models import Detector, build_network, fold_batch_norm, recording
from torch_port.training import training_for

CONFIGS = {"plain": "demo/narrow_fpn", "deformable": "demo/narrow_fpn_dcn"}


def built(kind="deformable", **overrides):
    torch.manual_seed(4)
    cfg = load_config(CONFIGS[kind], **overrides)
    network = build_network(cfg)
    for name, parameter in network.named_parameters():
        if "offset" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return network, cfg


def batch_of(cfg):
    return task_of(cfg).batch(scene_source(cfg, "train")[0], cfg, Draws(0, 1))


@pytest.mark.parametrize("kind", CONFIGS)
def test_replaying_its_own_decisions_changes_nothing(kind):
    network, cfg = built(kind)
    network.double()
    given = batch_of(cfg)
    with recording(network) as decisions:
        free = network.forward_train(given, Draws(0, 1))
    again = network.forward_train(given, Draws(0, 1), replay=decisions)
    assert torch.equal(again.loss, free.loss)
    assert [row for row in again.replayed.rows() if row[1]] == []
    names = {name for name, _, _ in again.replayed.rows()}
    part = ":offset" if kind == "deformable" else ""
    assert {"rpn.proposal", "rpn.relu.p6", "head.relu2", f"head.roi_pool.p3.pool{part}"} <= names


def test_other_pixels_of_a_roi_are_taken_and_counted():
    network, cfg = built("plain")
    given = batch_of(cfg)
    with recording(network) as decisions:
        free = network.forward_train(given, Draws(0, 1))
    name = next(name for name in decisions if name.startswith("head.roi_pool") and len(decisions[name]))
    taken = decisions[name].copy()
    taken[0] = -1  # nothing: its bins become 0
    again = network.forward_train(given, Draws(0, 1), replay={**decisions, name: taken})
    differing = {row[0]: row[1] for row in again.replayed.rows()}
    assert 0 < differing[name] <= taken[0].size
    assert not torch.equal(again.loss, free.loss)


def test_outputs_have_the_shapes_of_the_original_graphs():
    network, cfg = built()
    given = batch_of(cfg)
    outputs = network.forward_train(given, Draws(0, 1))
    assert outputs.rpn_cls_prob.shape == (1, 2, given["label"].shape[1])
    assert outputs.rpn_bbox_loss.shape == given["bbox_target"].shape
    rois = cfg.TRAIN.RPN_POST_NMS_TOP_N + given["gt_boxes"].shape[1]
    assert outputs.cls_prob.shape == (1, rois, 5) and outputs.bbox_loss.shape == (1, rois, 20)
    assert (outputs.label != -1).sum() == cfg.TRAIN.BATCH_ROIS_OHEM
    outputs.loss.backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.mxnet
@pytest.mark.parametrize("kind", CONFIGS)
def test_learning_rates_are_the_original_graphs(kind):
    from mxnet_ref import build_symbol, learning_rate_multipliers
    from weights_convert import rules_for

    network, cfg = built(kind)
    groups = training_for(network, cfg, updates_per_epoch=1).optimizer.param_groups
    entries = {entry.torch: name for name, entry in rules_for(cfg).entries.items()}
    ours = {entries[group["name"]]: group["lr_mult"] for group in groups if group["lr_mult"] != 1}
    assert ours == learning_rate_multipliers(build_symbol(cfg, True))


def test_it_starts_as_the_plain_network():
    networks = []
    for kind in CONFIGS:
        torch.manual_seed(0)
        networks.append(build_network(load_config(CONFIGS[kind])).eval())
    plain, deformable = networks
    deformable.load_state_dict(plain.state_dict(), strict=False)
    offsets = {name for name, value in deformable.state_dict().items() if "offset" in name and not value.any()}
    assert offsets == {name for name in deformable.state_dict() if name not in plain.state_dict()}
    data = torch.randn(1, 3, 64, 96)
    for one, other in zip(plain.backbone(data), deformable.backbone(data), strict=True):
        assert (one - other).abs().max() <= FLOAT32_NETWORK * one.abs().max()


def test_folding_keeps_the_shared_convolutions_shared():
    network, _ = built()
    folded = fold_batch_norm(network)
    assert folded.rpn.conv.p2.weight is folded.rpn.conv.weight
    assert folded.rpn.conv.weight is not network.rpn.conv.weight


@pytest.mark.mxnet
@pytest.mark.parametrize("kind", CONFIGS)
def test_boxes_of_a_photo_are_the_references(kind):
    import mxnet_ref
    from dcn_suite.parity.photo import photo_of
    from weights_convert import Params, to_torch

    _, cfg = built(kind)
    photo = photo_of(128, 160)
    arg, aux = mxnet_ref.calibrated_init(cfg, photo, 0)
    arg = mxnet_ref.with_test_copies(arg, cfg)
    theirs, _ = mxnet_ref.Detector(cfg, mxnet_ref.detection_weights(arg), aux)(photo)
    network = build_network(cfg)
    network.load_state_dict(to_torch(Params(arg=arg, aux=aux), cfg))
    ours, _ = Detector(network, cfg)(photo)
    assert len(ours.boxes) == len(theirs.boxes) > 5
    np.testing.assert_array_equal(ours.classes, theirs.classes)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=FOLDED_ROI_PIXELS)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=FOLDED_PROBABILITY)


def test_unnormalised_boxes_are_the_checkpoints_test_copies():
    network, _ = built("plain")
    weight, bias = network.head.bbox_pred.weight.clone(), torch.randn(20)
    network.head.bbox_pred.bias.data = bias.clone()
    network.head.unnormalise_boxes((0.0, 0.1, 0.0, 0.0), (0.1, 0.1, 0.2, 0.2))
    std = torch.tensor([0.1, 0.1, 0.2, 0.2]).repeat(5)
    assert torch.equal(network.head.bbox_pred.weight, weight * std[:, None])
    torch.testing.assert_close(network.head.bbox_pred.bias, bias * std + torch.tensor([0, 0.1, 0, 0]).repeat(5))


def test_mxnets_own_proposal_is_refused():
    with pytest.raises(InputError, match="knows one level only"):
        built("plain", TRAIN__CXX_PROPOSAL=True, TEST__CXX_PROPOSAL=True)
