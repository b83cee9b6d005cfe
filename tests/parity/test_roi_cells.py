"""RoI max pooling: bins whose cells depend on the precision are set apart, and no others."""

import numpy as np

from dcn_suite.parity.kinks import bin_edges, max_pool_masks
from dcn_suite.parity.segments import Segment

ATTRS = {"pooled_size": "(7, 7)", "spatial_scale": "0.0625"}
POOL = Segment("roi_pool", ("roi_pool",), "ROIPooling", ATTRS, ("map", "rois"), (), ("roi_pool",), "head.pool", 0)
DATA = np.zeros((1, 2, 40, 64), np.float32)


def roi(width_cells: int, height_cells: int) -> np.ndarray:
    return np.array([[0, 0, 0, 16 * (width_cells - 1), 16 * (height_cells - 1)]], np.float32)


def test_seven_bins_over_29_cells_end_elsewhere_in_float32():
    """29 / 7 * 7 is 29 in float32 and 29.000000000000004 in float64, whose ceiling is 30."""
    single, double = (bin_edges(POOL, roi(29, 10), dtype)[0, 0] for dtype in (np.float32, np.float64))
    assert (single[-1, 1], double[-1, 1]) == (29, 30)
    assert (bin_edges(POOL, roi(28, 10), np.float32) == bin_edges(POOL, roi(28, 10), np.float64)).all()


def test_bins_of_a_28_cell_roi_are_judged():
    assert max_pool_masks(POOL, DATA, roi(28, 28)) == {}


def test_only_the_columns_that_differ_are_set_apart():
    masks = max_pool_masks(POOL, DATA, roi(29, 10))
    columns = masks["output"][0, 0].all(axis=0)
    assert masks["output"].shape == (1, 1, 7, 7)
    assert columns[-1] and not columns[0]
    touched = masks["map"][0, 0]
    assert touched[:10, 25:30].all() and not touched[10:].any() and not touched[:, :4].any()
