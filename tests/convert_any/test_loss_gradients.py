"""Loss heads hand down MXNet's gradients, whatever comes from above."""

import json

import numpy as np
import pytest
import torch

from tests.convert_any.small_graph import Builder
from tests.tolerances import LOSS_GRADIENT
from weights_convert import Params, convert, parse_symbol

RNG = np.random.default_rng(5)
ROWS, MAPS = RNG.standard_normal((4, 5), dtype=np.float32), RNG.standard_normal((2, 5, 3, 4), dtype=np.float32)
CLASSES, PIXELS = RNG.integers(0, 5, 4).astype(np.float32), RNG.integers(0, 5, (2, 3, 4)).astype(np.float32)
TARGETS = RNG.uniform(0, 1, (4, 5)).astype(np.float32)
IGNORING = {"use_ignore": True, "ignore_label": 1}

CASES = {
    **{
        f"SoftmaxOutput, {normalization}, {options or 'plain'}{' of maps' if maps else ''}": (
            "SoftmaxOutput",
            (MAPS, PIXELS) if maps else (ROWS, CLASSES),
            {"normalization": normalization, **({"multi_output": True} if maps else {}), **options},
        )
        for normalization in ("null", "batch", "valid")
        for options in ({}, IGNORING, {"smooth_alpha": 0.1}, {**IGNORING, "smooth_alpha": 0.1}, {"grad_scale": 0.3})
        for maps in (False, True)
    },
    "SoftmaxOutput, probabilities as labels": ("SoftmaxOutput", (ROWS, TARGETS), {}),
    "SoftmaxOutput, last axis": ("SoftmaxOutput", (MAPS, np.zeros((2, 5, 3), np.float32)), {"preserve_shape": True}),
    **{
        f"{kind}RegressionOutput, {name}": (f"{kind}RegressionOutput", given, {"grad_scale": 0.5})
        for kind in ("Linear", "Logistic", "MAE")
        for name, given in {"rows": (ROWS, TARGETS), "one number": (ROWS[:, :1], TARGETS[:, 0])}.items()
    },
    "SVMOutput, squared": ("SVMOutput", (ROWS, CLASSES), {"margin": 0.7, "regularization_coefficient": 0.3}),
    "SVMOutput, linear": ("SVMOutput", (ROWS, CLASSES), {"use_linear": True}),
    **{
        f"MakeLoss, {normalization}": (
            "MakeLoss",
            (ROWS,),
            {"normalization": normalization, "valid_thresh": 0.5, "grad_scale": 2},
        )
        for normalization in ("null", "batch", "valid")
    },
}


@pytest.mark.mxnet
@pytest.mark.parametrize("name", CASES)
def test_gradient_of_a_loss_head_is_mxnets(name):
    import mxnet as mx

    op, given, attrs = CASES[name]
    net = Builder()
    head = net.call(op, "loss", *[net.variable(f"in{place}") for place in range(len(given))], **attrs)
    text = json.dumps({"nodes": net.nodes, "arg_nodes": list(range(len(given))), "heads": [[head, 0, 0]],
                       "attrs": {"mxnet_version": ["int", 10901]}})  # fmt: skip
    arrays = {f"in{place}": mx.nd.array(each) for place, each in enumerate(given)}
    slot = {"in0": mx.nd.zeros(given[0].shape)}
    request = {key: "write" if key in slot else "null" for key in arrays}
    executor = mx.sym.load_json(text).bind(mx.cpu(), arrays, args_grad=slot, grad_req=request)
    (theirs,) = executor.forward(is_train=True)
    above = np.random.default_rng(6).standard_normal(theirs.shape, dtype=np.float32)
    executor.backward([mx.nd.array(above)])

    tensors = {f"in{place}": torch.from_numpy(each.copy()) for place, each in enumerate(given)}
    tensors["in0"].requires_grad_()
    ours = convert(parse_symbol(text), Params()).train()(**tensors)
    ours.backward(torch.from_numpy(above))
    for mine, other in ((ours.detach(), theirs), (tensors["in0"].grad, slot["in0"])):
        expected = other.asnumpy()
        np.testing.assert_allclose(mine.numpy(), expected, rtol=0, atol=LOSS_GRADIENT * np.abs(expected).max())


def test_out_grad_multiplies_by_what_comes_from_above():
    """As MXNet documents it; 1.9.1 multiplies by the output instead, which it takes for the gradient."""
    data = torch.from_numpy(ROWS.copy()).requires_grad_()
    net = Builder()
    head = net.call("SoftmaxOutput", "loss", net.variable("data"), net.variable("label"), out_grad=True)
    module = convert(parse_symbol(json.dumps({"nodes": net.nodes, "arg_nodes": [], "heads": [[head, 0, 0]]})), Params())
    output = module.train()(data=data, label=torch.from_numpy(CLASSES))
    above = torch.arange(20.0).reshape(4, 5)
    output.backward(above)
    expected = (output.detach() - torch.eye(5)[torch.from_numpy(CLASSES).long()]) * above
    torch.testing.assert_close(data.grad, expected)
