"""The losses against MXNet's loss operators, which put their own gradient in place of any that comes from above."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from torch_port.models.losses import SmoothL1Loss, SoftmaxOutput, smooth_l1


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def ours(loss, prediction, *others):
    """(output, gradient of the prediction) of one of our losses."""
    prediction = torch.tensor(prediction, requires_grad=True)
    term = loss(prediction, *map(torch.tensor, others))
    term.scalar.backward()
    return term.output.numpy(), prediction.grad.numpy()


def mxnets(graph, prediction):
    """(output, gradient of the prediction) of an MXNet loss, under a head gradient that it must ignore."""
    import mxnet as mx

    prediction = mx.nd.array(prediction, dtype="float64")
    prediction.attach_grad()
    with mx.autograd.record():
        output = graph(mx, prediction)
    output.backward(mx.nd.full(output.shape, 17.0, dtype="float64"))
    return output.asnumpy(), prediction.grad.asnumpy()


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= FLOAT64_SAME_FUNCTION * max(np.abs(other).max(), 1e-3)


LABELS = {
    "some ignored": [-1, 0, 2, 1, -1, 2],
    "none ignored": [0, 0, 2, 1, 1, 2],
    "all ignored": [-1] * 6,
    "one left": [-1, -1, -1, 2, -1, -1],
}


@pytest.mark.mxnet
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_softmax_of_rois_is_mxnets(labels):
    logits, labels = normal(6, 3), np.array(labels, "float64")

    def graph(mx, logits):
        label = mx.nd.array(labels, dtype="float64")
        return mx.nd.SoftmaxOutput(logits, label, normalization="valid", use_ignore=True, ignore_label=-1)

    assert_same(ours(SoftmaxOutput(), logits, labels), mxnets(graph, logits))


@pytest.mark.mxnet
@pytest.mark.parametrize("labels", [[[-1, 0, 1, 1, -1, 0]], [[-1] * 6]], ids=["some ignored", "all ignored"])
def test_softmax_of_anchors_is_mxnets(labels):
    logits, labels = normal(1, 2, 6), np.array(labels, "float64")

    def graph(mx, logits):
        label = mx.nd.array(labels, dtype="float64")
        settings = {"normalization": "valid", "use_ignore": True, "ignore_label": -1}
        return mx.nd.SoftmaxOutput(logits, label, multi_output=True, **settings)

    assert_same(ours(SoftmaxOutput(), logits, labels), mxnets(graph, logits))


@pytest.mark.mxnet
def test_softmax_without_ignored_labels_is_mxnets_without_use_ignore():
    logits, labels = normal(6, 3), np.array([0, 0, 2, 1, 1, 2], "float64")

    def graph(mx, logits):
        return mx.nd.SoftmaxOutput(logits, mx.nd.array(labels, dtype="float64"), normalization="valid")

    assert_same(ours(SoftmaxOutput(), logits, labels), mxnets(graph, logits))


@pytest.mark.mxnet
@pytest.mark.parametrize("sigma, grad_scale", [(3.0, 1 / 256), (1.0, 1 / 100)], ids=["rpn", "head"])
def test_smooth_l1_and_make_loss_are_mxnets(sigma, grad_scale):
    shape = (2, 8, 3, 4)
    prediction, target = normal(*shape), normal(*shape, seed=1)
    weight = (normal(*shape, seed=2) > 0).astype("float64")
    target.flat[:3], weight.flat[:3] = 0, 1
    prediction.flat[:3] = [1 / sigma**2, -1 / sigma**2, 0]  # on the joints of the branches

    def graph(mx, prediction):
        rest = [mx.nd.array(array, dtype="float64") for array in (target, weight)]
        loss = rest[1] * mx.nd.smooth_l1(prediction - rest[0], scalar=sigma)
        return mx.nd.MakeLoss(loss, grad_scale=grad_scale)

    found = ours(SmoothL1Loss(sigma=sigma, grad_scale=grad_scale), prediction, target, weight)
    assert_same(found, mxnets(graph, prediction))


def test_softmax_scalar_is_the_mean_cross_entropy_of_the_labels_that_count():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]])
    term = SoftmaxOutput()(torch.tensor(np.log(probabilities)), torch.tensor([1, 2, -1]))
    assert term.scalar.item() == pytest.approx(-(np.log(0.25) + np.log(0.7)) / 2)
    np.testing.assert_allclose(term.output.numpy(), probabilities, rtol=FLOAT64_SAME_FUNCTION)


def test_smooth_l1_joins_its_branches_without_a_step():
    x = torch.tensor([-1, -1 / 9, 0, 1 / 9, 1], dtype=torch.float64)
    assert smooth_l1(x, sigma=3.0).tolist() == pytest.approx([1 - 1 / 18, 1 / 18, 0, 1 / 18, 1 - 1 / 18])
