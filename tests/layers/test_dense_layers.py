"""Pooling, softmax and sums against MXNet itself."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION, SOFTMAX_FLOAT32

from dcn_tasks.errors import InputError
from torch_port.layers import Add, CeilMaxPool, ChannelSoftmax, GlobalAverage


def positive(*shape):
    return np.random.default_rng(sum(shape)).permutation(int(np.prod(shape))).reshape(shape).astype("float64")


@pytest.mark.mxnet
@pytest.mark.parametrize("height, width", [(6, 6), (7, 7), (8, 5), (5, 8), (3, 4), (4, 3), (75, 50)])
def test_ceil_max_pool_is_mxnets_full_convention_forward_and_backward(height, width):
    import mxnet as mx

    case = positive(2, 3, height, width)
    x = mx.nd.array(case, dtype="float64")
    x.attach_grad()
    with mx.autograd.record():
        expected = mx.nd.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full")
    head = positive(*expected.shape)
    expected.backward(mx.nd.array(head, dtype="float64"))
    ours = torch.tensor(case, requires_grad=True)
    output = CeilMaxPool(3, 2)(ours)
    assert output.shape == expected.shape
    output.backward(torch.tensor(head))
    np.testing.assert_array_equal(output.detach().numpy(), expected.asnumpy())
    np.testing.assert_array_equal(ours.grad.numpy(), x.grad.asnumpy())


def test_ceil_max_pool_keeps_the_half_window_at_the_edge():
    r"""
    0 1 2 3        windows of 3, every 2: columns 0-2 and 2-3
    4 5 6 7   ->   10 11
    8 9 10 11      14 15
    12 .. 15
    """
    grid = torch.arange(16.0).view(1, 1, 4, 4)
    assert CeilMaxPool(3, 2)(grid).tolist() == [[[[10, 11], [14, 15]]]]


def test_ceil_max_pool_refuses_a_stride_above_its_kernel():
    with pytest.raises(InputError, match="stride <= kernel_size, got stride 3, kernel_size 2"):
        CeilMaxPool(2, 3)


@pytest.mark.mxnet
def test_global_average_is_mxnets():
    import mxnet as mx

    case = positive(5, 4, 7, 7)
    expected = mx.nd.Pooling(mx.nd.array(case, dtype="float64"), kernel=(7, 7), pool_type="avg", global_pool=True)
    ours = GlobalAverage()(torch.tensor(case)).numpy()
    np.testing.assert_allclose(ours, expected.asnumpy().reshape(5, 4), rtol=FLOAT64_SAME_FUNCTION)


def test_global_average_of_no_rois_is_no_rows():
    assert GlobalAverage()(torch.zeros(0, 4, 7, 7)).shape == (0, 4)


@pytest.mark.mxnet
def test_channel_softmax_is_mxnets_between_the_rpn_reshapes():
    import mxnet as mx

    case = np.random.default_rng(0).normal(size=(2, 18, 5, 4)).astype("float32")
    folded = mx.nd.Reshape(mx.nd.array(case), shape=(0, 2, -1, 0))
    expected = mx.nd.Reshape(mx.nd.SoftmaxActivation(folded, mode="channel"), shape=(0, 18, -1, 0))
    ours = ChannelSoftmax(classes=2)(torch.tensor(case)).numpy()
    np.testing.assert_allclose(ours, expected.asnumpy(), rtol=SOFTMAX_FLOAT32)


def test_channel_softmax_pairs_anchor_a_with_anchor_a():
    logits = torch.zeros(1, 4, 1, 1)  # channels: background of anchors 0, 1, object of anchors 0, 1
    logits[0, 3] = 100.0
    assert ChannelSoftmax(classes=2)(logits).flatten().tolist() == pytest.approx([0.5, 0, 0.5, 1])


def test_add_adds():
    assert Add()(torch.tensor([1.0]), torch.tensor([2.0])).item() == 3
