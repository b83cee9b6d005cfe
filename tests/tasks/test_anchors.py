"""Anchors against the tables of the original (spec 5.3)."""

import numpy as np
import pytest

from dcn_tasks.anchors import base_anchors, grid_anchors

RATIOS = (0.5, 1, 2)
STRIDE_16 = {
    4: ([-38, -16, 53, 31], [-24, -24, 39, 39], [-14, -36, 29, 51]),
    8: ([-84, -40, 99, 55], [-56, -56, 71, 71], [-36, -80, 51, 95]),
    16: ([-176, -88, 191, 103], [-120, -120, 135, 135], [-80, -168, 95, 183]),
    32: ([-360, -184, 375, 199], [-248, -248, 263, 263], [-168, -344, 183, 359]),
}
SCALE_8 = {
    4: ([-22, -10, 25, 13], [-14, -14, 17, 17], [-10, -22, 13, 25]),
    8: ([-40, -20, 47, 27], [-28, -28, 35, 35], [-20, -44, 27, 51]),
    16: STRIDE_16[8],
    32: ([-164, -72, 195, 103], [-112, -112, 143, 143], [-76, -168, 107, 199]),
    64: ([-332, -152, 395, 215], [-224, -224, 287, 287], [-148, -328, 211, 391]),
}


@pytest.mark.parametrize("scales", [(8, 16, 32), (4, 8, 16, 32)])
def test_anchors_of_stride_16_are_the_originals_ratio_first(scales: tuple[int, ...]) -> None:
    expected = [STRIDE_16[scale][ratio] for ratio in range(3) for scale in scales]
    np.testing.assert_array_equal(base_anchors(16, RATIOS, scales), expected)


@pytest.mark.parametrize("stride", SCALE_8)
def test_anchors_of_each_pyramid_stride_are_the_originals(stride: int) -> None:
    np.testing.assert_array_equal(base_anchors(stride, RATIOS, (8,)), SCALE_8[stride])


def test_height_of_22_and_a_half_is_rounded_to_even() -> None:
    wide = base_anchors(32, (0.5,), (8,))[0]
    assert wide[3] - wide[1] + 1 == 22 * 8  # MXNet's C++ operator has 23 * 8


def test_grid_runs_along_x_then_y_with_anchors_innermost() -> None:
    base = base_anchors(16, (1,), (8, 16))
    grid = grid_anchors(base, 2, 3, 16).reshape(2, 3, 2, 4)
    np.testing.assert_array_equal(grid[0, 0], base)
    np.testing.assert_array_equal(grid[0, 1], base + np.array([16, 0, 16, 0]))
    np.testing.assert_array_equal(grid[1, 2], base + np.array([32, 16, 32, 16]))
