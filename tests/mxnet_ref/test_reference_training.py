"""Three steps of a tiny network: the optimiser is the original's, step by step, parameter by parameter."""

import numpy as np
import pytest
from tiny_network import tiny
from tolerances import SGD_STEP

from dcn_tasks.errors import InputError
from dcn_tasks.scenes import SceneSource
from dcn_tasks.streams import Draws
from dcn_tasks.task import DETECTION
from dcn_tasks.training_loop import Image

pytestmark = pytest.mark.mxnet
# lr 0.01, then 0.1 from update 2 on, then 0.01 again after update 2: the momentum sees three rates
SCHEDULED = {
    "TRAIN__lr": 0.1,
    "TRAIN__warmup_lr": 0.01,
    "TRAIN__warmup_step": 2,
    "TRAIN__lr_step": "2",
    "TRAIN__wd": 0.01,
}
RATES = [0.01, 0.1, 0.01]
FROZEN = {
    "network__FIXED_PARAMS": ["conv1", "bn_conv1", "res2", "bn2"]
}  # other gammas and betas learn: decay on gammas only


def batches(cfg, count: int):
    from dcn_tasks.batch import training_batch

    source = SceneSource(7, 96, 128, max_objects=3, min_side=24, max_side=40)
    scenes = [source[index] for index in range(count)]
    return [training_batch(each.image, each.gt_boxes, cfg, Draws(0, n)) for n, each in enumerate(scenes, 1)]


@pytest.fixture(scope="module")
def cfg():
    return tiny(**SCHEDULED, **FROZEN)


@pytest.fixture(scope="module")
def history(cfg):
    """Parameters before and after each of three updates, and the gradients of each."""
    from dcn_tasks.recipe import schedule_of
    from mxnet_ref import init_params
    from mxnet_ref.trainer import Trainer

    arg, aux = init_params(cfg)
    given = batches(cfg, 3)
    trainer = Trainer(cfg, given[0], arg, aux, schedule_of(cfg, updates_per_epoch=1))
    parameters, states, gradients = [arg], [aux], []
    for number, batch in enumerate(given, 1):
        trainer.update([Image(batch, Draws(0, number))])
        (executor,) = trainer.module._curr_module._exec_group.execs
        gradients.append({name: value.asnumpy() for name, value in executor.grad_dict.items() if value is not None})
        after = trainer.parameters()
        parameters.append(after[0])
        states.append(after[1])
    return parameters, states, gradients, trainer.momentum(), given


def test_objects_differ_in_number_so_that_graphs_are_bound_again(history):
    assert len({batch["gt_boxes"].shape for batch in history[4]}) > 1


def test_exactly_the_parameters_that_are_not_frozen_change(cfg, history):
    from mxnet_ref import fixed_parameters

    parameters, _, gradients, momentum, _ = history
    frozen = set(fixed_parameters(parameters[0], cfg))
    changed = {name for name, value in parameters[0].items() if (value != parameters[3][name]).any()}
    assert frozen and changed == parameters[0].keys() - frozen
    assert gradients[0].keys() & parameters[0].keys() == changed
    assert momentum.keys() == changed


def sgd(history, *, rate_inside: bool) -> dict[str, np.ndarray]:
    """Parameters after three updates by the rule of the original, or with the rate outside of the momentum, in float64."""
    parameters, _, gradients, _, _ = history
    values = {name: parameters[0][name].astype(np.float64) for name in gradients[0] if name in parameters[0]}
    momentum = {name: np.zeros_like(value) for name, value in values.items()}
    for rate, gradient in zip(RATES, gradients, strict=True):
        for name, value in values.items():
            own_rate = rate * (3 if name.startswith("conv_new_1") else 1)
            decay = 0.01 if name.endswith(("_weight", "_gamma")) else 0
            step = gradient[name] + decay * value
            if rate_inside:
                momentum[name] = 0.9 * momentum[name] - own_rate * step
                value += momentum[name]
            else:
                momentum[name] = 0.9 * momentum[name] + step
                value -= own_rate * momentum[name]
    return values


def deviation(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], start: dict[str, np.ndarray]) -> float:
    """The largest difference over all parameters, as a share of how far the parameter moved."""
    return max(
        np.abs(found[name] - expected[name]).max() / np.abs(expected[name] - start[name]).max() for name in expected
    )


def test_updates_are_sgd_with_the_rate_inside_the_momentum(history):
    parameters = history[0]
    assert deviation(parameters[3], sgd(history, rate_inside=True), parameters[0]) < SGD_STEP
    assert deviation(parameters[3], sgd(history, rate_inside=False), parameters[0]) > 100 * SGD_STEP


def test_batch_statistics_move_the_stored_ones_and_global_ones_do_not(cfg, history):
    from mxnet_ref import init_params, train

    _, states, _, _, _ = history
    moved = {name for name in states[0] if (states[0][name] != states[3][name]).any()}
    behind_frozen = {name for name in states[0] if name.startswith(("bn_conv1", "bn2"))}
    assert moved == states[0].keys() - behind_frozen, (
        "MXNet moves them in the backward pass, which ends where all is frozen"
    )
    fixed = tiny(**SCHEDULED, network__USE_GLOBAL_STATS=True)
    arg, aux = init_params(fixed)
    result = train(fixed, batches(fixed, 2), arg, aux, steps=2, progress=False)
    assert all((result.aux[name] == aux[name]).all() for name in aux)


def test_training_goes_on_from_a_checkpoint_as_if_never_interrupted(cfg, tmp_path):
    from mxnet_ref import init_params, load_checkpoint, train
    from mxnet_ref.checkpoint import load_momentum

    plain = tiny(TRAIN__lr=0.05, TRAIN__warmup=False, TRAIN__lr_step="9")
    given = batches(plain, 2)
    start = init_params(plain)
    whole = train(plain, given, *start, steps=2, updates_per_epoch=1, progress=False)
    train(plain, given[:1], *start, steps=1, prefix=tmp_path / "net", progress=False)
    arg, aux = load_checkpoint(tmp_path / "net", 1)
    momentum = load_momentum(tmp_path / "net", 1)
    seen = []
    rest = train(
        plain, given[1:], arg, aux, steps=1, momentum=momentum, progress=False, on_step=lambda n, *_: seen.append(n)
    )
    assert seen == [1], "as in the original, updates count from 1 again"
    without = train(plain, given[1:], arg, aux, steps=1, progress=False)
    moved = deviation(rest.arg, {k: v for k, v in whole.arg.items()}, start[0])
    assert moved < SGD_STEP * 100, "the same but for the sampling of update 2, which draws as update 1 here"
    assert any((without.arg[name] != rest.arg[name]).any() for name in rest.arg)


def test_every_epoch_and_the_end_leave_a_checkpoint(cfg, tmp_path):
    from mxnet_ref import init_params, train

    start, given = init_params(cfg), batches(cfg, 3)
    result = train(cfg, given, *start, steps=3, updates_per_epoch=2, prefix=tmp_path / "net", progress=False)
    assert [path.name for path in result.checkpoints] == ["net-0001.params", "net-0002.params"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net-0001.params",
        "net-0001.states.params",
        "net-0002.params",
        "net-0002.states.params",
    ]
    assert len(result.metrics) == 3
    assert list(result.metrics[0]) == ["RPNAcc", "RPNLogLoss", "RPNL1Loss", "RCNNAcc", "RCNNLogLoss", "RCNNL1Loss"]


def test_a_seed_gives_one_run_and_another_seed_another(cfg):
    from mxnet_ref import init_params, train

    start, given = init_params(cfg), batches(cfg, 2)
    padded = tiny(
        **SCHEDULED, **FROZEN, TRAIN__RPN_POST_NMS_TOP_N=400
    )  # more than there are anchors: some are drawn twice
    runs = [train(padded, given, *start, steps=2, seed=seed, progress=False).arg for seed in (0, 0, 1)]
    assert all((runs[0][name] == runs[1][name]).all() for name in runs[0])
    assert any((runs[0][name] != runs[2][name]).any() for name in runs[0])


@pytest.mark.parametrize("name", ["rfcn_cls_bias", "rpn_bbox_pred_bias"])
def test_divergence_names_the_update_and_the_first_bad_parameter(cfg, name):
    from mxnet_ref import init_params, train
    from mxnet_ref.trainer import TrainingDiverged

    arg, aux = init_params(cfg)
    arg[name][:] = np.nan
    with pytest.raises(TrainingDiverged, match=rf"update 1: .*{name}: lower TRAIN\.lr"):
        train(cfg, batches(cfg, 1), arg, aux, steps=1, progress=False)


def test_divergence_names_the_layer_that_overflows_first(cfg):
    from mxnet_ref import init_params, train
    from mxnet_ref.trainer import TrainingDiverged

    arg, aux = init_params(cfg)
    arg["rfcn_cls_weight"][:] = np.finfo(np.float32).max  # finite itself
    with pytest.raises(TrainingDiverged, match=r"update 1: .*the output of rfcn_cls.* is the first that is not finite"):
        train(cfg, batches(cfg, 1), arg, aux, steps=1, progress=False)


def test_missing_parameters_and_missing_batches_are_input_errors(cfg):
    from mxnet_ref import init_params, train

    arg, aux = init_params(cfg)
    with pytest.raises(InputError, match="expected 3 batches, got 1"):
        train(cfg, batches(cfg, 1), arg, aux, steps=3, progress=False)
    del arg["conv_new_1_weight"]
    with pytest.raises(InputError, match="conv_new_1_weight"):
        train(cfg, batches(cfg, 1), arg, aux, steps=1, progress=False)


def test_scene_batches_follow_the_seed_and_never_end(cfg):
    from itertools import islice

    from mxnet_ref import scene_batches

    first, again, other = (list(islice(scene_batches(cfg, seed=seed), 3)) for seed in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert all((one[name] == two[name]).all() for name in one)
    assert any((one["data"] != two["data"]).any() for one, two in zip(first, other, strict=True))
    assert all(len(batch["gt_boxes"][0]) for batch in first)


def test_an_operators_refusal_of_a_healthy_network_passes_through_as_it_is(cfg):
    from mxnet_ref import init_params, train

    (batch,) = batches(cfg, 1)
    tiny_image = {**batch, "im_info": np.array([[8, 8, 1]], np.float32)}  # smaller than a cell of the map: no anchors
    with pytest.raises(ValueError, match="propose"):
        train(cfg, [tiny_image], *init_params(cfg), steps=1, progress=False)


def test_binding_is_silent_and_other_messages_are_not(cfg, capfd):
    import os

    from mxnet_ref import init_params, train
    from mxnet_ref.notices import without_binding_notices

    train(cfg, batches(cfg, 3), *init_params(cfg), steps=3, progress=False)
    with without_binding_notices():
        os.write(2, b"[09:00:00] MXNET_SUBGRAPH_BACKEND=NONE is detected\nsomething else\n")
    assert capfd.readouterr().err == "something else\n"


def test_graphs_for_many_shapes_take_turns_without_changing_the_result(cfg, monkeypatch):
    from dcn_tasks.recipe import schedule_of
    from mxnet_ref import init_params
    from mxnet_ref import trainer as module

    order = [0, 1, 2, 1, 0, 2, 1]
    given = batches(cfg, 3)
    given = [given[index] for index in order]
    assert len({module.shapes_of(batch, DETECTION) for batch in given}) == 3
    results, bound = [], []
    for limit in (64, 1):
        monkeypatch.setattr(module, "MAX_BOUND", limit)
        trainer = module.Trainer(cfg, given[0], *init_params(cfg), schedule_of(cfg, 9))
        for number, batch in enumerate(given, 1):
            trainer.update([Image(batch, Draws(0, number))])
        results.append(trainer.parameters()[0])
        bound.append(len(trainer.module._buckets))
    assert bound == [3, 2]
    assert all((results[0][name] == results[1][name]).all() for name in results[0])
