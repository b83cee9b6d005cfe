"""The optimiser against MXNet's own, and which parameter it moves how far."""

import numpy as np
import pytest
import torch
from torch import nn

from dcn_tasks.errors import InputError
from torch_port.layers import BatchNorm, DeformConv2dPack
from torch_port.training.sgd import SGD, parameter_groups

RATES = (0.01, 0.01, 0.001, 0.001, 0.02)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.bn = BatchNorm(3, use_global_stats=False)
        self.head = nn.Conv2d(3, 2, 1)
        self.head.lr_mult = 3.0


MXNET_NAMES = {
    "conv.weight": "conv_weight",
    "conv.bias": "conv_bias",
    "bn.weight": "bn_gamma",
    "bn.bias": "bn_beta",
    "head.weight": "head_weight",
    "head.bias": "head_bias",
}


def gradients(network, step, dtype):
    rng = np.random.default_rng(step)
    return {name: rng.normal(size=parameter.shape).astype(dtype) for name, parameter in network.named_parameters()}


def mxnet_weights(network, momentum, dtype):
    """Weights after each step of mx.optimizer.SGD on the same start and gradients."""
    import mxnet as mx

    names = [name for name, _ in network.named_parameters()]
    optimizer = mx.optimizer.SGD(
        learning_rate=RATES[0],
        momentum=momentum,
        wd=5e-4,
        rescale_grad=1.0,
        param_idx2name={index: MXNET_NAMES[name] for index, name in enumerate(names)},
    )
    optimizer.set_lr_mult({"head_weight": 3.0, "head_bias": 3.0})
    update = mx.optimizer.get_updater(optimizer)
    weights = {
        name: mx.nd.array(parameter.detach().numpy(), dtype=dtype) for name, parameter in network.named_parameters()
    }
    for step, rate in enumerate(RATES):
        optimizer.set_learning_rate(rate)
        for index, name in enumerate(names):
            update(index, mx.nd.array(gradients(network, step, dtype)[name], dtype=dtype), weights[name])
        yield {name: weight.asnumpy() for name, weight in weights.items()}


@pytest.mark.mxnet
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_five_updates_with_changing_rates_are_mxnets_bit_for_bit(dtype, momentum):
    torch.manual_seed(0)
    network = Small().to(getattr(torch, dtype))
    expected = list(mxnet_weights(network, momentum, dtype))
    optimizer = SGD(parameter_groups(network, weight_decay=5e-4), lr=RATES[0], momentum=momentum)
    for step, rate in enumerate(RATES):
        for name, gradient in gradients(network, step, dtype).items():
            network.get_parameter(name).grad = torch.tensor(gradient)
        optimizer.set_lr(rate)
        optimizer.step()
        for name, parameter in network.named_parameters():
            np.testing.assert_array_equal(
                parameter.detach().numpy(), expected[step][name], err_msg=f"{name}, step {step}"
            )


def test_momentum_keeps_the_size_of_steps_taken_at_an_earlier_rate():
    r"""gradient 1, then 0; rate 1, then 0.001; momentum 0.5: w = 0, -1, -1.5 (torch.optim.SGD: -1.0005)"""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = SGD([{"params": [weight]}], lr=1.0, momentum=0.5)
    found = []
    for gradient, rate in ((1.0, 1.0), (0.0, 0.001)):
        weight.grad = torch.tensor([gradient])
        optimizer.set_lr(rate)
        optimizer.step()
        found.append(weight.item())
    assert found == [-1.0, -1.5]


def test_decay_and_multipliers_go_where_mxnet_puts_them():
    groups = {group["name"]: group for group in parameter_groups(Small(), weight_decay=0.1)}
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        name: 0.1 if theirs.endswith(("_weight", "_gamma")) else 0.0 for name, theirs in MXNET_NAMES.items()
    }
    assert [name for name, group in groups.items() if group["lr_mult"] == 3.0] == ["head.weight", "head.bias"]


def test_offset_convolution_brings_its_own_rate():
    layer = DeformConv2dPack(4, 4, 3, padding=1, offset_lr_mult=0.1)
    rates = {group["name"]: group["lr_mult"] for group in parameter_groups(layer, weight_decay=0)}
    assert rates == {"weight": 1.0, "offset_conv.weight": 0.1, "offset_conv.bias": 0.1}


def test_fixed_parameters_are_left_out_and_need_no_gradient():
    network = Small()
    groups = parameter_groups(network, weight_decay=0, fixed=["bn.weight", "conv.bias"])
    assert {"bn.weight", "conv.bias"}.isdisjoint(group["name"] for group in groups)
    assert [name for name, parameter in network.named_parameters() if not parameter.requires_grad] == [
        "conv.bias",
        "bn.weight",
    ]


def test_a_fixed_parameter_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"no parameter bn3\.weight"):
        parameter_groups(Small(), weight_decay=0, fixed=["bn3.weight"])
