"""DeepLab's Deconvolution and Crop against MXNet itself."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.errors import InputError
from torch_port.layers import BilinearDeconvolution, Crop
from torch_port.layers.upsampling import bilinear_kernel


@pytest.mark.mxnet
@pytest.mark.parametrize(("channels", "factor", "size"), [(3, 16, (2, 3)), (2, 4, (5, 1)), (1, 2, (1, 1))])
def test_deconvolution_is_mxnets_forward_and_backward(channels, factor, size):
    import mxnet as mx

    rng = np.random.default_rng(factor)
    layer = BilinearDeconvolution(channels, factor).double()
    arrays = [rng.normal(size=(2, channels, *size)), rng.normal(size=layer.weight.shape)]
    theirs = [mx.nd.array(each, dtype="float64") for each in arrays]
    for each in theirs:
        each.attach_grad()
    with mx.autograd.record():
        expected = mx.nd.Deconvolution(
            *theirs, kernel=(2 * factor, 2 * factor), stride=(factor, factor), num_filter=channels, num_group=channels,
            no_bias=True,
        )  # fmt: skip
    head = rng.normal(size=expected.shape)
    expected.backward(mx.nd.array(head, dtype="float64"))
    data = torch.tensor(arrays[0], requires_grad=True)
    layer.weight.data = torch.tensor(arrays[1])
    output = layer(data)
    assert output.shape == expected.shape == (2, channels, (size[0] + 1) * factor, (size[1] + 1) * factor)
    output.backward(torch.tensor(head))
    pairs = ((output.detach(), expected), (data.grad, theirs[0].grad), (layer.weight.grad, theirs[1].grad))
    for ours, reference in pairs:
        reference = reference.asnumpy()
        np.testing.assert_allclose(ours.numpy(), reference, atol=FLOAT64_SAME_FUNCTION * np.abs(reference).max())


@pytest.mark.mxnet
@pytest.mark.parametrize("side", [4, 8, 32])
def test_the_kernel_is_mxnets_bilinear_initialiser(side):
    import mxnet as mx

    weight = mx.nd.zeros((2, 1, side, side))
    mx.init.Bilinear()(mx.init.InitDesc("upsampling_weight"), weight)
    np.testing.assert_array_equal(BilinearDeconvolution(2, side // 2).weight.detach().numpy(), weight.asnumpy())


def test_bilinear_kernel_of_factor_2():
    """Taps at distances 3/4, 1/4, 1/4, 3/4 of a cell."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(torch.from_numpy(bilinear_kernel(4)), line[:, None] * line)


def test_a_constant_map_stays_constant_inside():
    layer = BilinearDeconvolution(1, 16).double()
    enlarged = layer(torch.ones(1, 1, 3, 4, dtype=torch.float64))
    inside = Crop(8)(enlarged, torch.empty(1, 3, 48, 64))
    np.testing.assert_allclose(inside[:, :, 8:-8, 8:-8].detach().numpy(), 1, atol=FLOAT64_SAME_FUNCTION)


@pytest.mark.mxnet
def test_crop_is_mxnets_forward_and_backward():
    import mxnet as mx

    data = np.arange(2 * 3 * 9 * 8, dtype="float32").reshape(2, 3, 9, 8)
    theirs, like = mx.nd.array(data), mx.nd.zeros((2, 1, 5, 4))
    theirs.attach_grad()
    with mx.autograd.record():
        expected = mx.nd.Crop(theirs, like, offset=(2, 2), num_args=2)
    expected.backward(expected * 2)
    ours = torch.tensor(data, requires_grad=True)
    output = Crop(2)(ours, torch.empty(2, 1, 5, 4))
    output.backward(output.detach() * 2)
    np.testing.assert_array_equal(output.detach().numpy(), expected.asnumpy())
    np.testing.assert_array_equal(ours.grad.numpy(), theirs.grad.asnumpy())


def test_a_window_beyond_the_map_is_refused():
    with pytest.raises(InputError, match="at least 12x9 pixels, got 11x20"):
        Crop(2)(torch.empty(1, 1, 11, 20), torch.empty(1, 3, 10, 7))
