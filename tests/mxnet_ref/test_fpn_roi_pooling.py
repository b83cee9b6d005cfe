"""The operator fpn_roi_pooling: each RoI from its level, gradients to the level it came from and to no other."""

import numpy as np
import pytest
from tolerances import CENTRAL_DIFFERENCE, SAME_SUM_FLOAT32

pytestmark = pytest.mark.mxnet
SIDES = {"pooled_height": 3, "pooled_width": 3, "level_side": 32}
ROIS = np.array([[0, 4, 4, 12, 14], [0, 10, 8, 60, 70], [0, 0, 0, 15, 15], [0, 3, 5, 25, 28]], "float32")  # P2 P4 P3 P3
LEVELS = [0, 2, 1, 1]


def maps(seed: int = 0, channels: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(1, channels, 96 // stride, 96 // stride)).astype("float32") for stride in (4, 8, 16, 32)]


def layers(channels: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(9)
    shapes = [(18, 9 * channels), (18,)] * 4
    return [rng.normal(0, 0.3, shape).astype("float32") for shape in shapes]


def pooled(data, rois, *, deformable: bool, head=None):
    """Outputs, and gradients of the maps and layers from a head gradient of the pooled values."""
    import mxnet as mx

    import mxnet_ref  # noqa: F401, registers the operator

    arrays = [mx.nd.array(each) for each in [*data, *(layers() if deformable else [])]]
    for each in arrays:
        each.attach_grad()
    attrs = {**SIDES, "output_dim": 4, "with_deformable": deformable, "op_type": "fpn_roi_pooling"}
    with mx.autograd.record():
        found = mx.nd.Custom(*arrays, mx.nd.array(rois), **attrs)
    outputs = found if isinstance(found, list) else [found]
    if head is not None:
        mx.autograd.backward([outputs[0]], [mx.nd.array(head)])
    return [each.asnumpy() for each in outputs], [each.grad.asnumpy() for each in arrays]


def test_rows_keep_the_order_of_the_rois_and_come_from_their_levels():
    import mxnet as mx

    data = maps()
    (found,), _ = pooled(data, ROIS, deformable=False)
    for row, (roi, level) in enumerate(zip(ROIS, LEVELS, strict=True)):
        expected = mx.nd.ROIPooling(
            mx.nd.array(data[level]), mx.nd.array(roi[None]), pooled_size=(3, 3), spatial_scale=1 / (4 * 2**level)
        )
        np.testing.assert_array_equal(found[row], expected.asnumpy()[0])


def test_deformable_bins_move_by_the_offsets_that_it_hands_out():
    import mxnet as mx

    data, offset_layers = maps(), layers()
    (found, offsets), _ = pooled(data, ROIS, deformable=True)
    for row, (roi, level) in enumerate(zip(ROIS, LEVELS, strict=True)):
        settings = {"group_size": 1, "pooled_size": 3, "part_size": 3, "sample_per_part": 4, "output_dim": 4}
        settings["spatial_scale"] = 1 / (4 * 2**level)
        source, own = mx.nd.array(data[level]), mx.nd.array(roi[None])
        pool = mx.nd.contrib.DeformablePSROIPooling
        regular = pool(source, own, no_trans=True, **settings).asnumpy().reshape(-1)
        moves = offset_layers[2 * level] @ regular + offset_layers[2 * level + 1]
        np.testing.assert_allclose(offsets[row].reshape(-1), moves, rtol=SAME_SUM_FLOAT32, atol=SAME_SUM_FLOAT32)
        moved = pool(source, own, mx.nd.array(offsets[row : row + 1]), no_trans=False, trans_std=0.1, **settings)
        np.testing.assert_allclose(found[row], moved.asnumpy()[0], rtol=SAME_SUM_FLOAT32, atol=SAME_SUM_FLOAT32)


@pytest.mark.parametrize("deformable", [False, True])
def test_a_level_without_rois_has_no_gradient_whatever_came_before(deformable):
    """The original keeps a history of gradients and hands out old ones here."""
    import mxnet as mx

    head = np.ones((4, 4, 3, 3), "float32")
    _, first = pooled(maps(), ROIS, deformable=deformable, head=head)
    assert [bool(each.any()) for each in first[:4]] == [True, True, True, False]
    small = ROIS.copy()
    small[:, 3:] = small[:, 1:3] + 4
    _, second = pooled(maps(), small, deformable=deformable, head=head)
    assert [bool(each.any()) for each in second[:4]] == [True, False, False, False]
    if deformable:
        assert [bool(each.any()) for each in second[4::2]] == [True, False, False, False]
    mx.nd.waitall()


def test_repeating_a_step_repeats_its_gradients():
    head = np.random.default_rng(1).normal(size=(4, 4, 3, 3)).astype("float32")
    runs = [pooled(maps(), ROIS, deformable=True, head=head)[1] for _ in range(3)]
    for one, other in zip(runs[0], runs[2], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("deformable", [False, True])
def test_a_backward_pass_is_of_the_last_forward_and_may_be_asked_for_twice(deformable):
    """A training forward leaves what its backward needs; a forward of other data in between must not."""
    import mxnet as mx

    names = [f"data_p{level}" for level in (2, 3, 4, 5)]
    names += [f"offset_{part}_p{level}" for level in (2, 3, 4, 5) for part in ("weight", "bias")] if deformable else []
    variables = {name: mx.sym.Variable(name) for name in [*names, "rois"]}
    attrs = {**SIDES, "output_dim": 4, "with_deformable": deformable, "op_type": "fpn_roi_pooling"}
    values = [*maps(), *(layers() if deformable else [])]
    arrays = {name: mx.nd.array(value) for name, value in zip(names, values, strict=True)} | {"rois": mx.nd.array(ROIS)}
    grads = {name: mx.nd.zeros_like(arrays[name]) for name in names}
    executor = mx.sym.Custom(name="pool", **variables, **attrs).bind(mx.cpu(), arrays, args_grad=grads)
    heads = [mx.nd.ones_like(output) if index == 0 else mx.nd.zeros_like(output)
             for index, output in enumerate(executor.forward(is_train=True))]  # fmt: skip

    def gradients():
        executor.backward(heads)
        return [grads[name].asnumpy() for name in names]

    first, again = gradients(), gradients()
    executor.forward(is_train=True)
    for name, value in zip(names[:4], maps(seed=5), strict=True):
        arrays[name][:] = value
    executor.forward(is_train=False)
    between = gradients()
    executor.forward(is_train=True)
    own = gradients()
    for one, other in zip([*first, *between], [*again, *own], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not deformable or any((one != other).any() for one, other in zip(first, own, strict=True))


def test_a_gradient_is_the_slope_of_the_pooled_values():
    """Central differences in the bias of P3's offset layer, in float64."""
    import mxnet as mx

    import mxnet_ref  # noqa: F401

    head = np.random.default_rng(2).normal(size=(4, 4, 3, 3))
    arrays = [mx.nd.array(each, dtype="float64") for each in [*maps(), *layers()]]
    bias = arrays[4 + 2 * 1 + 1]
    attrs = {**SIDES, "output_dim": 4, "with_deformable": True, "op_type": "fpn_roi_pooling"}
    rois = mx.nd.array(ROIS, dtype="float64")
    bias.attach_grad()
    with mx.autograd.record():
        outputs = mx.nd.Custom(*arrays, rois, **attrs)
    mx.autograd.backward([outputs[0]], [mx.nd.array(head, dtype="float64")])
    gradient, step = bias.grad.asnumpy(), 1e-6
    for place in range(0, 18, 4):
        sums = []
        for sign in (1, -1):
            moved = bias.copy()
            moved[place] += sign * step
            changed = [*arrays[:7], moved, *arrays[8:]]
            sums.append((mx.nd.Custom(*changed, rois, **attrs)[0].asnumpy() * head).sum())
        assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(
            gradient[place], rel=CENTRAL_DIFFERENCE, abs=CENTRAL_DIFFERENCE
        )
