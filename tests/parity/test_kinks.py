"""Elements on a kink are found: MXNet's own float32 and float64 disagree there, and nowhere else."""

import numpy as np
import pytest

from dcn_suite.parity.kinks import conv_positions, exact_offset, kink_masks, rois_of_other_cells
from dcn_suite.parity.segments import Segment

pytestmark = pytest.mark.mxnet
JUMP = 1e-3  # far above float32 rounding of values near 1, far below a jump from one cell to the next

CONV = {
    "kernel": "(3, 3)",
    "pad": "(2, 2)",
    "dilate": "(2, 2)",
    "num_filter": "4",
    "num_deformable_group": "2",
    "no_bias": "True",
}
POOL = {"spatial_scale": "0.0625", "output_dim": "2", "group_size": "3", "pooled_size": "3", "part_size": "3",
        "sample_per_part": "4", "trans_std": "0.1"}  # fmt: skip


def segment(op: str, attrs: dict, *inputs: str, parameters: tuple[str, ...] = ()) -> Segment:
    return Segment("node", ("node",), op, attrs, inputs, parameters, ("node",), "module", 0)


def in_mxnet(op: str, attrs: dict, arrays: list[np.ndarray], dtype: str) -> list[np.ndarray]:
    """Output and the gradients of all inputs, for a fixed head gradient."""
    import mxnet as mx

    values = [mx.nd.array(array, dtype=dtype) for array in arrays]
    for value in values:
        value.attach_grad()
    with mx.autograd.record():
        output = getattr(mx.nd.contrib, op)(*values, **attrs)
    output.backward(mx.nd.array(np.random.default_rng(1).standard_normal(output.shape), dtype=dtype))
    return [output.asnumpy(), *(value.grad.asnumpy() for value in values)]


def jumps(single: np.ndarray, double: np.ndarray) -> np.ndarray:
    return np.abs(single - double) > JUMP


@pytest.fixture
def conv_case():
    generator = np.random.default_rng(0)
    data = generator.standard_normal((1, 4, 7, 9)).astype(np.float32)
    offset = generator.uniform(-1.5, 1.5, (1, 36, 7, 9)).astype(np.float32)
    weight = generator.standard_normal((4, 4, 3, 3)).astype(np.float32)
    return data, offset, weight


def conv_segment() -> Segment:
    return segment("_contrib_DeformableConvolution", CONV, "data", "offset", parameters=("node_weight",))


def test_a_deformable_convolution_away_from_kinks_has_no_mask(conv_case):
    data, offset, _ = conv_case
    assert kink_masks(conv_segment(), {"data": data, "offset": offset}) == {}


def test_offset_gradients_jump_only_where_the_mask_is_set(conv_case):
    data, offset, weight = conv_case
    # row 3 plus tap row 1 is row 3: float32 adds -1e-9 to it and stays, float64 falls into the cell above
    offset[0, 2 * 4, 3, 2:6] = -1e-9
    masks = kink_masks(conv_segment(), {"data": data, "offset": offset})
    single, double = (
        in_mxnet("DeformableConvolution", CONV, [data, offset, weight], t) for t in ("float32", "float64")
    )
    jumped = jumps(single[2], double[2])
    assert jumped.sum() == 4  # the kink is real
    assert not (jumped & ~masks["offset"]).any()
    assert masks["offset"].sum() == 8  # y and x of four samples
    assert "node_weight" not in masks  # nothing entered or left the image


def test_a_sample_that_enters_the_image_sets_the_weight_gradient_apart(conv_case):
    data, offset, weight = conv_case
    # row 6 plus tap row 1 is row 6 of 7: with this offset float32 rounds to 7, outside, and float64 stays inside
    offset[0, 2 * 4, 6, 4], offset[0, 2 * 4 + 1, 6, 4] = np.float32(0.99999994), 0.25
    masks = kink_masks(conv_segment(), {"data": data, "offset": offset})
    single, double = (
        in_mxnet("DeformableConvolution", CONV, [data, offset, weight], t) for t in ("float32", "float64")
    )
    for name, index in (("output", 0), ("data", 1), ("offset", 2)):
        jumped = jumps(single[index], double[index])
        assert jumped.any() or name == "offset"  # the last row is replicated: its offset gradient is 0 on both sides
        assert not (jumped & ~np.broadcast_to(masks[name], jumped.shape)).any()
    assert jumps(single[3], double[3]).any()
    assert masks["node_weight"].all()


def test_exact_offsets_put_float64_on_the_positions_of_float32(conv_case):
    _, offset, _ = conv_case
    offset[0, 8, 3, 2] = -1e-9
    single, double = conv_positions(conv_segment(), offset)
    assert (single != double).any()
    _, moved = conv_positions(conv_segment(), exact_offset(conv_segment(), offset))
    # conv_positions narrows its float32 result only: the float64 one has the exact positions
    assert np.array_equal(moved.astype(np.float32), single)


def test_a_float64_network_takes_a_float32_runs_cells_by_adjusted_offsets_and_nothing_else(conv_case):
    from dcn_suite.parity.decisions import for_float64

    _, offset, *_ = conv_case
    decisions = {"module:offset": offset, "relu": np.ones(3, bool)}
    found = for_float64(decisions, [conv_segment()])
    np.testing.assert_array_equal(found["module:offset"], exact_offset(conv_segment(), offset))
    assert found["relu"] is decisions["relu"] and decisions["module:offset"] is offset
    assert (found["module:offset"] != offset).any()


def test_part_offset_gradients_jump_only_where_the_mask_is_set():
    generator = np.random.default_rng(2)
    data = generator.standard_normal((1, 18, 12, 15)).astype(np.float32)
    x1, y1 = generator.uniform(0, 150, (2, 400))
    rois = np.stack(
        [np.zeros(400), x1, y1, x1 + generator.uniform(20, 90, 400), y1 + generator.uniform(20, 90, 400)], axis=1
    )
    rois = rois.astype(np.float32)
    trans = generator.uniform(-1, 1, (400, 4, 3, 3)).astype(np.float32)
    trans[:40] = np.round(trans[:40] * 4) / 4 * 10 * 0.5  # many samples on integers, up to rounding
    node = segment("_contrib_DeformablePSROIPooling", POOL, "data", "rois", "trans")
    masks = kink_masks(node, {"data": data, "rois": rois, "trans": trans})
    arrays = [data, rois, trans]
    single, double = (in_mxnet("DeformablePSROIPooling", POOL, arrays, t) for t in ("float32", "float64"))
    jumped = jumps(single[3], double[3])
    assert jumped.any()
    assert not (jumped & ~masks["trans"]).any()
    assert masks["trans"].mean() < 0.2
    outputs = jumps(single[0], double[0])
    assert not (outputs & ~masks.get("output", np.zeros(outputs.shape, bool))).any()


def test_rois_of_29_57_and_58_cells_have_other_bins_in_float64():
    import mxnet as mx

    cells = np.arange(20, 64)
    rois = np.zeros((len(cells), 5), np.float32)
    rois[:, 3] = rois[:, 4] = 16 * (cells - 1)
    data = np.random.default_rng(3).standard_normal((1, 8, 70, 70)).astype(np.float32)
    attrs = {"pooled_size": (7, 7), "spatial_scale": 0.0625}
    single, double = (
        mx.nd.ROIPooling(*(mx.nd.array(each, dtype=dtype) for each in (data, rois)), **attrs).asnumpy()
        for dtype in ("float32", "float64")
    )
    found = rois_of_other_cells(segment("ROIPooling", {name: str(value) for name, value in attrs.items()}), rois)
    assert set(cells[found]) == {29, 57, 58}
    assert np.array_equal((single != double).any(axis=(1, 2, 3)), found)
