"""Layers of the feature pyramid against the reference's operators and against themselves."""

import copy

import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION, PROPOSAL_PIXELS

from dcn_tasks.errors import InputError
from dcn_tasks.proposals import propose_from_pyramid
from dcn_tasks.pyramid import level_sizes
from dcn_tasks.streams import Draws
from torch_port.layers import (
    Concat,
    FullyConnected,
    ProposalLimits,
    PyramidProposal,
    PyramidRoIPool,
    SharedConv2d,
)

STRIDES = (4, 8, 16, 32, 64)
SIZE = (128, 160)


def rpn_maps(seed=1):
    rng = np.random.default_rng(seed)
    sizes = level_sizes(*SIZE)
    return [rng.uniform(size=(1, 6, *each)) for each in sizes], [rng.normal(0, 0.3, (1, 12, *each)) for each in sizes]


@pytest.mark.parametrize(("post", "min_size", "scale"), [(40, 0, 1.0), (900, 0, 1.0), (40, 20, 1.5)])
def test_proposals_are_the_original_operators(post, min_size, scale):
    probs, deltas = rpn_maps()
    limits = {"pre_nms_top_n": 1000, "post_nms_top_n": post, "nms_thresh": 0.7, "min_size": min_size}
    info = (*SIZE, scale)
    expected = propose_from_pyramid(
        [each[0, 3:] for each in probs], [each[0] for each in deltas], info, feature_strides=STRIDES, scales=(8,),
        ratios=(0.5, 1, 2), draws=Draws(4), **limits,
    )  # fmt: skip
    layer = PyramidProposal(feature_strides=STRIDES, scales=(8,), ratios=(0.5, 1, 2))
    found = layer(
        [torch.tensor(each) for each in probs], [torch.tensor(each) for each in deltas], torch.tensor([info]),
        ProposalLimits(**limits), Draws(4),
    )  # fmt: skip
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected.rois, atol=PROPOSAL_PIXELS)
    assert expected.num_valid < post or post == 40  # 900 rows are padded


def test_proposals_of_several_images_and_of_nothing_are_refused():
    probs, deltas = ([torch.tensor(each) for each in maps] for maps in rpn_maps())
    layer = PyramidProposal(feature_strides=STRIDES, scales=(8,), ratios=(0.5, 1, 2))
    limits = ProposalLimits(pre_nms_top_n=10, post_nms_top_n=5, nms_thresh=0.7, min_size=0)
    with pytest.raises(InputError, match="expected one image"):
        layer(probs, deltas, torch.tensor([[*SIZE, 1.0]] * 2), limits)
    limits = ProposalLimits(pre_nms_top_n=10, post_nms_top_n=5, nms_thresh=0.7, min_size=500)
    with pytest.raises(InputError, match="no box of at least 500 px is left"):
        layer(probs, deltas, torch.tensor([[*SIZE, 1.0]]), limits)


def rois_of_all_levels(count=24):
    rng = np.random.default_rng(5)
    start = rng.uniform(0, 60, (count, 2))
    size = np.exp(rng.uniform(np.log(6), np.log(120), (count, 2)))
    rois = np.concatenate([np.zeros((count, 1)), start, start + size], axis=1)
    return rois.astype("float32").astype("float64")


@pytest.mark.mxnet
@pytest.mark.parametrize("deformable", [False, True])
def test_roi_pooling_is_the_reference_operators_forward_and_backward(deformable):
    import mxnet as mx

    import mxnet_ref  # noqa: F401, registers the operator

    rng = np.random.default_rng(3)
    rois = rois_of_all_levels()
    data = [rng.normal(size=(1, 6, SIZE[0] // stride, SIZE[1] // stride)) for stride in STRIDES[:4]]
    pool = PyramidRoIPool(6, pooled_size=3, level_side=32, deformable=deformable).double()
    offsets = [parameter for parameter in pool.parameters()]
    for parameter in offsets:
        torch.nn.init.normal_(parameter, std=0.05)
    ours = [torch.tensor(each, requires_grad=True) for each in data]
    found = pool(ours, torch.tensor(rois))
    head = rng.normal(size=found.pooled.shape)
    found.pooled.backward(torch.tensor(head))

    theirs = [mx.nd.array(each, dtype="float64") for each in [*data, *(p.detach().numpy() for p in offsets)]]
    for each in theirs:
        each.attach_grad()
    attrs = {"pooled_height": 3, "pooled_width": 3, "level_side": 32, "output_dim": 6, "with_deformable": deformable}
    with mx.autograd.record():
        outputs = mx.nd.Custom(*theirs, mx.nd.array(rois, dtype="float64"), op_type="fpn_roi_pooling", **attrs)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    mx.autograd.backward([outputs[0]], [mx.nd.array(head, dtype="float64")])
    pairs = [
        (found.pooled.detach(), outputs[0]),
        *((o.grad, t.grad) for o, t in zip([*ours, *offsets], theirs, strict=True)),
    ]
    if deformable:
        pairs.append((found.offset.detach(), outputs[1]))
    for own, reference in pairs:
        reference = reference.asnumpy()
        assert np.abs(reference).max() > 0
        np.testing.assert_allclose(own.numpy(), reference, atol=FLOAT64_SAME_FUNCTION * np.abs(reference).max())


def test_a_level_without_rois_has_no_gradient_and_no_rois_pool_to_nothing():
    pool = PyramidRoIPool(2, pooled_size=3, level_side=32)
    data = [torch.randn(1, 2, 32 // 2**k, 40 // 2**k, requires_grad=True) for k in range(4)]
    pool(data, torch.tensor([[0.0, 4, 4, 12, 12]])).pooled.sum().backward()
    assert [bool(each.grad.any()) for each in data] == [True, False, False, False]
    assert pool(data, torch.zeros(0, 5)).pooled.shape == (0, 2, 3, 3)


def test_a_shared_convolution_has_one_weight_and_every_level_is_a_module():
    conv = SharedConv2d(3, 4, 3, ("p2", "p3")).double()
    maps = [torch.randn(1, 3, 8, 6).double(), torch.randn(1, 3, 4, 3).double()]
    assert set(conv.state_dict()) == {"weight", "bias"}
    seen = []
    conv.p3.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    outputs = conv(maps)
    for each, output in zip(maps, outputs, strict=True):
        expected = torch.nn.functional.conv2d(each, conv.weight, conv.bias, padding=1)
        assert torch.equal(output, expected)
    assert seen == [(1, 4, 4, 3)]
    twin = copy.deepcopy(conv)
    assert twin.p2.weight is twin.weight and twin.weight is not conv.weight


def test_fully_connected_flattens_channels_first():
    layer = FullyConnected(2 * 3 * 3, 1)
    torch.nn.init.zeros_(layer.bias)
    torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[0, 9 + 3 + 2] = 1  # channel 1, row 1, column 2
    data = torch.arange(18.0).view(1, 2, 3, 3)
    assert layer(data).item() == data[0, 1, 1, 2].item()


def test_concat_joins_along_its_axis():
    assert Concat(dim=2)(torch.zeros(1, 2, 3), torch.ones(1, 2, 1)).shape == (1, 2, 4)
