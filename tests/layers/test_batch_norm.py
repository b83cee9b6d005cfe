"""BatchNorm against MXNet itself, frozen and with batch statistics."""

import numpy as np
import pytest
import torch
from tolerances import ERROR_RATIO, FLOAT32_ROUNDING, FLOAT64_SAME_FUNCTION

from torch_port.layers import BatchNorm

SHAPE = (2, 3, 4, 5)


def random_case(dtype):
    rng = np.random.default_rng(7)
    channels = SHAPE[1]
    return {
        "x": (3 * rng.normal(size=SHAPE) + 1).astype(dtype),
        "head": rng.normal(size=SHAPE).astype(dtype),
        "weight": rng.uniform(0.5, 2, channels).astype(dtype),
        "bias": rng.normal(size=channels).astype(dtype),
        "running_mean": rng.normal(size=channels).astype(dtype),
        "running_var": rng.uniform(0.01, 2, channels).astype(dtype),
    }


def run_torch(case, use_global_stats, **arguments):
    layer = BatchNorm(SHAPE[1], use_global_stats=use_global_stats, **arguments)
    layer.to(torch.tensor(case["x"]).dtype).train()
    layer.load_state_dict({name: torch.tensor(case[name]) for name in layer.state_dict()})
    x = torch.tensor(case["x"], requires_grad=True)
    output = layer(x)
    output.backward(torch.tensor(case["head"]))
    found = {"y": output, "dx": x.grad, "dweight": layer.weight.grad, "dbias": layer.bias.grad}
    found |= {"mean": layer.running_mean, "var": layer.running_var}
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


def run_mxnet(case, use_global_stats):
    import mxnet as mx

    arrays = {name: mx.nd.array(value, dtype=value.dtype) for name, value in case.items()}
    for name in ("x", "weight", "bias"):
        arrays[name].attach_grad()
    parameters = [arrays[name] for name in ("x", "weight", "bias", "running_mean", "running_var")]
    with mx.autograd.record(train_mode=True):
        y = mx.nd.BatchNorm(*parameters, eps=1e-5, fix_gamma=False, use_global_stats=use_global_stats)
    y.backward(arrays["head"])
    mx.nd.waitall()
    found = {"y": y, "dx": arrays["x"].grad, "dweight": arrays["weight"].grad, "dbias": arrays["bias"].grad}
    found |= {"mean": arrays["running_mean"], "var": arrays["running_var"]}
    return {name: array.asnumpy() for name, array in found.items()}


@pytest.mark.mxnet
@pytest.mark.parametrize("use_global_stats", [True, False])
def test_float64_outputs_gradients_and_moving_statistics_are_mxnets(use_global_stats):
    case = random_case("float64")
    ours, theirs = run_torch(case, use_global_stats), run_mxnet(case, use_global_stats)
    for name, expected in theirs.items():
        assert np.abs(ours[name] - expected).max() <= FLOAT64_SAME_FUNCTION * np.abs(expected).max(), name


@pytest.mark.mxnet
@pytest.mark.parametrize("use_global_stats", [True, False])
def test_float32_error_is_no_larger_than_mxnets(use_global_stats):
    case = random_case("float32")
    truth = run_torch({name: value.astype("float64") for name, value in case.items()}, use_global_stats)
    ours, theirs = run_torch(case, use_global_stats), run_mxnet(case, use_global_stats)
    for name, expected in truth.items():
        error, allowed = np.abs(ours[name] - expected).max(), np.abs(theirs[name] - expected).max()
        assert error <= ERROR_RATIO * allowed + FLOAT32_ROUNDING * np.abs(expected).max(), name


def test_moving_variance_takes_the_biased_variance():
    case = random_case("float64")
    found = run_torch(case, use_global_stats=False)
    kept = float(np.float32(0.9))
    batch = case["x"].var(axis=(0, 2, 3))
    np.testing.assert_allclose(
        found["var"], kept * case["running_var"] + (1 - kept) * batch, rtol=FLOAT64_SAME_FUNCTION
    )


def test_frozen_layer_does_not_move_its_statistics_in_training():
    case = random_case("float32")
    found = run_torch(case, use_global_stats=True)
    np.testing.assert_array_equal(found["mean"], case["running_mean"])
    np.testing.assert_array_equal(found["var"], case["running_var"])


def test_another_eps_is_seen():
    case = random_case("float64")
    right, wrong = run_torch(case, True)["y"], run_torch(case, True, eps=2e-5)["y"]
    assert np.abs(right - wrong).max() > 1e3 * FLOAT64_SAME_FUNCTION * np.abs(right).max()
