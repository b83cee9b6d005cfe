"""DeepLab: shapes, losses, decisions that can be replayed, rates, and labels equal to the reference's."""

import numpy as np
import pytest
import torch

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws
from torch_port.layers import DeformConv2d
from torch_port.models import Segmenter, build_network, recording
from torch_port.training import training_for

CONFIGS = {"plain": "demo/narrow_deeplab", "deformable": "demo/narrow_deeplab_dcn"}


def built(kind="deformable", **overrides):
    torch.manual_seed(2)
    cfg = load_config(CONFIGS[kind], **overrides)
    network = build_network(cfg)
    for module in network.modules():
        if isinstance(module, DeformConv2d | torch.nn.Conv2d) and not module.weight.any():
            torch.nn.init.normal_(module.weight, std=0.1)  # offsets that are not zero
    return network.double(), cfg


def batch(height=64, width=80):
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 2, 3, 4, 255], (1, 1, height, width)).astype(float)
    return {"data": rng.normal(size=(1, 3, height, width)) * 50, "label": label}


@pytest.mark.parametrize("size", [(64, 80), (33, 47), (100, 52)])
def test_every_pixel_gets_probabilities_whatever_the_size(size):
    network, _ = built()
    with torch.no_grad():
        prob = network.eval()(torch.as_tensor(batch(*size)["data"]))
    assert prob.shape == (1, 5, *size)
    torch.testing.assert_close(prob.sum(1), torch.ones(1, *size).double())


def test_loss_is_the_mean_over_the_pixels_that_have_a_class():
    network, _ = built()
    given = batch()
    outputs = network.forward_train(given, Draws(0))
    label = given["label"][0, 0]
    ys, xs = np.nonzero(label != 255)
    picked = outputs.softmax[0].numpy()[label[ys, xs].astype(int), ys, xs]
    assert outputs.loss.item() == pytest.approx(-np.log(picked).mean(), rel=1e-6)  # MXNet divides in float32
    assert outputs.arrays().keys() == {"softmax"}


def test_ignored_pixels_move_nothing():
    network, _ = built("plain")
    given = batch()
    given["label"][...] = 255
    network.forward_train(given, Draws(0)).loss.backward()
    assert all(parameter.grad.abs().max() == 0 for parameter in network.parameters() if parameter.grad is not None)


def test_replaying_its_own_decisions_changes_nothing():
    network, _ = built()
    given = batch()
    with recording(network) as decisions:
        free = network.forward_train(given, Draws(0))
    again = network.forward_train(given, Draws(0), replay=decisions)
    assert torch.equal(again.loss, free.loss)
    assert [row for row in again.replayed.rows() if row[1]] == []
    names = {name for name, _, _ in again.replayed.rows()}
    assert {"head.relu", "backbone.stem.pool", "backbone.stage5.1.conv2:offset"} <= names


def test_res5_dilates_by_two_and_its_offsets_do_not():
    network, _ = built()
    for unit in network.backbone.stage5:
        assert (unit.conv2.dilation, unit.offset_conv.dilation, unit.conv2.offset_groups) == ((2, 2), (1, 1), 1)
        assert unit.conv1.stride == (1, 1)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.mxnet
def test_learning_rates_are_the_original_graphs(kind):
    from mxnet_ref import build_symbol, learning_rate_multipliers
    from weights_convert import rules_for

    network, cfg = built(kind)
    groups = training_for(network, cfg, updates_per_epoch=1).optimizer.param_groups
    entries = {entry.torch: name for name, entry in rules_for(cfg).entries.items()}
    ours = {entries[group["name"]]: group["lr_mult"] for group in groups if group["lr_mult"] != 1}
    assert ours == learning_rate_multipliers(build_symbol(cfg, True))


def test_upsampling_starts_bilinear_and_stays_so():
    network, cfg = built("plain")
    training = training_for(network.float(), load_config(cfg, TRAIN__lr=1.0, TRAIN__warmup=False), updates_per_epoch=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    training.step(batch())
    assert torch.equal(network.head.upsampling.weight, before["head.upsampling.weight"])
    assert not torch.equal(network.head.score.weight, before["head.score.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given.pop("label"), "missing: label: build it with dcn_tasks.segmentation"),
        (
            lambda given: given.update(label=np.zeros((1, 64, 80))),
            r"label: expected \[1, 1, 64, 80\], got \[1, 64, 80\]",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(change, message):
    network, _ = built("plain")
    given = batch()
    change(given)
    with pytest.raises(InputError, match=message):
        network.forward_train(given, Draws(0))


@pytest.mark.mxnet
@pytest.mark.parametrize("kind", CONFIGS)
def test_labels_of_a_photo_are_the_references(kind):
    import mxnet_ref
    from dcn_suite.parity.photo import photo_of
    from weights_convert import Params, to_torch

    _, cfg = built(kind)
    photo = photo_of(96, 128)
    arg, aux = mxnet_ref.calibrated_init(cfg, photo, 0)
    theirs, _ = mxnet_ref.Segmenter(cfg, arg, aux)(photo)
    network = build_network(cfg)
    network.load_state_dict(to_torch(Params(arg=arg, aux=aux), cfg))
    for fold in (False, True):
        ours = Segmenter(network, cfg, fold=fold)(photo)
        assert ours.labels.shape == photo.shape[:2]
        np.testing.assert_array_equal(ours.labels, theirs)
