"""Training goes on, stops with a reason, and leaves checkpoints that another run goes on from."""

import json
import re
from itertools import islice, repeat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dcn_tasks.errors import InputError
from dcn_tasks.schedule import WarmupMultiFactor
from torch_port.layers import BatchNorm
from torch_port.training import (
    SGD,
    Training,
    TrainingDiverged,
    first_nonfinite,
    load_checkpoint,
    parameter_groups,
    save_checkpoint,
    shuffled,
    train,
)

FIXED = ("backbone.stem.conv.weight", "backbone.stem.bn.weight", "backbone.stage2.0.conv1.weight")


def training_of(network, seed=0):
    groups = parameter_groups(network, weight_decay=5e-4, fixed=FIXED)
    schedule = WarmupMultiFactor(0.01, [3], 0.1, warmup=True, warmup_lr=0.001, warmup_step=1)
    return Training(network, SGD(groups, lr=0.01), schedule, seed=seed)


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_fixed_parameters_and_frozen_statistics_never_move_and_the_others_do(narrow, batch):
    before = state(narrow)
    train(training_of(narrow), repeat(batch), steps=2, progress=False)
    moved = {name for name, tensor in narrow.state_dict().items() if not torch.equal(tensor, before[name])}
    expected = {name for name, _ in narrow.named_parameters()} - set(FIXED)
    assert moved == expected


def test_rates_follow_the_schedule(narrow, batch):
    rates = []
    train(training_of(narrow), repeat(batch), steps=5, on_step=lambda step: rates.append(step.lr), progress=False)
    schedule = training_of(narrow).schedule
    assert rates == [schedule(number) for number in range(1, 6)]
    assert rates[-1] == pytest.approx(0.001)


def test_every_epoch_visits_every_image_in_its_own_order():
    visited = [index for index, _ in islice(shuffled(lambda index, draws: (index, draws), 6, seed=0), 12)]
    assert sorted(visited[:6]) == sorted(visited[6:]) == list(range(6))
    assert visited[:6] != visited[6:]


def test_order_goes_on_where_it_stopped_with_the_same_streams():
    whole = list(islice(shuffled(lambda index, draws: (index, draws), 5, seed=3), 12))
    rest = list(islice(shuffled(lambda index, draws: (index, draws), 5, seed=3, first_update=8), 5))
    assert rest == whole[7:]
    assert [draws.step for _, draws in whole] == list(range(1, 13))


def test_stopped_and_resumed_training_is_the_uninterrupted_one(narrow, batch, tmp_path):
    start = state(narrow)
    train(training_of(narrow), repeat(batch), steps=4, progress=False)
    expected = state(narrow)
    narrow.load_state_dict(start)
    files = {"prefix": tmp_path / "model", "updates_per_epoch": 2}
    written = train(training_of(narrow), repeat(batch), steps=3, progress=False, **files)
    assert [path.name for path in written] == ["model-0001.safetensors", "model-0002.safetensors"]
    torch.nn.init.zeros_(narrow.rpn.conv.weight)
    again = training_of(narrow)
    again.resume(load_checkpoint(written[1]))
    train(again, repeat(batch), steps=1, progress=False)
    for name, tensor in narrow.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_too_few_batches_are_an_error(narrow, batch):
    with pytest.raises(InputError, match="expected 3 batches, got 2"):
        train(training_of(narrow), [batch] * 2, steps=3, progress=False)


def test_bar_goes_to_stderr_and_nothing_to_stdout(narrow, batch, capfd):
    train(training_of(narrow), [batch], steps=1)
    out, err = capfd.readouterr()
    assert out == ""
    assert "1/1" in err and "lr 0.01" in err


def test_checkpoint_holds_step_and_resolved_configuration(narrow, tmp_path):
    config = {"TRAIN": {"lr": 0.01}}
    save_checkpoint(tmp_path / "a.safetensors", narrow, None, step=7, config=config)
    found = load_checkpoint(tmp_path / "a.safetensors")
    assert (found.step, found.config) == (7, config)
    assert found.tensors.keys() == narrow.state_dict().keys()


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected a training checkpoint"):
        load_checkpoint(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text(json.dumps({"weights": 1}))
    with pytest.raises(InputError, match="expected a training checkpoint"):
        load_checkpoint(tmp_path / "text.safetensors")


def test_half_a_checkpoint_is_refused(narrow, tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", narrow, None, step=7, config={})
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="expected a training checkpoint"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_checkpoint_of_another_network_is_refused(narrow, tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", narrow.rpn, None, step=7, config={})
    with pytest.raises(InputError, match="the checkpoint is of another network"):
        training_of(narrow).resume(load_checkpoint(tmp_path / "a.safetensors"))


def rewritten(path, *, tensors=(), **metadata) -> None:
    """The checkpoint with other tensors and metadata."""
    save_file({**load_file(path), **dict(tensors)}, path, {"step": "7", "config": "{}", **metadata})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tensors": {"foo": torch.zeros(1)}}, "weights/... and momentum/... alone, got foo"),
        ({"step": "x"}, "got 'x' and '{}'"),
        ({"step": "-1"}, "got '-1' and '{}'"),
        ({"config": "{"}, "got '7' and '{'"),
        ({"config": "[]"}, "got '7' and '[]'"),
        ({"config": "[" * 100_000}, "got '7' and '[[["),
    ],
)
def test_checkpoint_with_other_names_or_facts_is_refused(narrow, tmp_path, changes, said):
    save_checkpoint(tmp_path / "a.safetensors", narrow, None, step=7, config={})
    rewritten(tmp_path / "a.safetensors", **changes)
    with pytest.raises(InputError, match=rf"a\.safetensors: expected .*{re.escape(said)}"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_shape_past_pytorchs_limits_is_refused(tmp_path):
    header = json.dumps({"weights/a": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match=r"a\.safetensors: expected a training checkpoint [^\n]*$"):
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("name", "buffer", "said"),
    [
        ("rpn.conv.bias", torch.zeros(3), r"expected \[\d+\], got torch.float32 \[3\]"),
        ("rpn.conv.bias", torch.zeros(16, dtype=torch.int64), r"got torch.int64 \[16\]"),
        ("foo", torch.zeros(3), "expected a parameter of the network"),
    ],
)
def test_momentum_that_does_not_fit_is_refused_before_the_first_step(narrow, tmp_path, name, buffer, said):
    save_checkpoint(tmp_path / "a.safetensors", narrow, None, step=7, config={})
    rewritten(tmp_path / "a.safetensors", tensors={f"momentum/{name}": buffer})
    with pytest.raises(InputError, match=rf"a\.safetensors: momentum of {name}: .*{said}"):
        training_of(narrow).resume(load_checkpoint(tmp_path / "a.safetensors"))


def test_nan_loss_stops_with_the_layer_to_blame_and_moves_nothing(narrow, batch):
    training = training_of(narrow)
    narrow.backbone.stage3[0].bn2.running_var.fill_(-1)
    before = state(narrow)
    with pytest.raises(TrainingDiverged, match=r"at update 1, .*backbone\.stage3\.0\.bn2 \(BatchNorm\) is the first"):
        training.step(batch)
    for name, tensor in narrow.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name].numpy())


def test_nan_weight_is_named_as_a_parameter(narrow, batch):
    with torch.no_grad():
        narrow.rpn.conv.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(TrainingDiverged, match=r"parameter rpn\.conv\.weight is not finite"):
        training_of(narrow).step(batch)


def test_finite_network_blames_nobody():
    network = torch.nn.Linear(2, 2)
    assert first_nonfinite(network, lambda: network(torch.ones(1, 2))) is None


def test_looking_for_the_layer_to_blame_moves_no_statistics():
    layer = BatchNorm(1, use_global_stats=False)
    first_nonfinite(layer, lambda: layer(torch.full((1, 1, 2, 2), 3.0)))
    assert layer.running_mean.item() == 0


def test_an_error_in_a_finite_network_is_its_own(narrow, batch):
    batch["bbox_target"] = batch["bbox_target"][:, :3]
    with pytest.raises(RuntimeError, match="size of tensor"):
        training_of(narrow).step(batch)
