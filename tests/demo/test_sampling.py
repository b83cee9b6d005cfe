"""Where sampling points and moved bins are drawn: the geometry of the operators, in image pixels."""

import numpy as np
import torch

from dcn_suite.sampling import compose_points, deform_conv_points, part_boxes
from torch_port.ops import deform_conv2d


def test_zero_offsets_give_the_dilated_grid_around_the_pixel():
    points = deform_conv_points(np.zeros((18, 6, 7)), 3, 4, stride=16, dilation=2, padding=2)
    assert points[4].tolist() == [(4 + 0.5) * 16, (3 + 0.5) * 16]
    assert points[0].tolist() == [(2 + 0.5) * 16, (1 + 0.5) * 16]
    assert points[8].tolist() == [(6 + 0.5) * 16, (5 + 0.5) * 16]


def test_offsets_are_y_first_and_per_group():
    offset = np.zeros((2 * 2 * 9, 4, 4))
    offset[18 + 2 * 5] = 1.0  # group 1, tap 5, y
    moved = deform_conv_points(offset, 1, 1, stride=1) - deform_conv_points(np.zeros_like(offset), 1, 1, stride=1)
    assert moved[9 + 5].tolist() == [0.0, 1.0]
    assert np.count_nonzero(moved) == 1


def test_the_points_are_those_that_the_operator_reads():
    """A map that is 1 in one cell answers only through the tap whose drawn point lies in that cell."""
    row, column, tap = 2, 3, 7
    offset = np.zeros((18, 5, 6))
    offset[2 * tap], offset[2 * tap + 1] = -2.0, 1.0
    x, y = deform_conv_points(offset, row, column, stride=1)[tap] - 0.5
    image = torch.zeros(1, 1, 5, 6)
    image[0, 0, int(y), int(x)] = 1
    weight = torch.zeros(1, 1, 3, 3)
    weight.view(-1)[tap] = 1
    result = deform_conv2d(image, torch.as_tensor(offset[None], dtype=torch.float32), weight, padding=1)
    assert result[0, 0, row, column] == 1


def test_composed_points_of_two_regular_layers_reach_twice_as_far():
    offset = np.zeros((18, 9, 9))
    points = compose_points([offset, offset], 4, 4, stride=1, dilation=1)
    assert len(points) == 81
    assert points.min() == 2.5 and points.max() == 6.5


def test_points_outside_the_map_go_no_further():
    offset = np.zeros((18, 3, 3))
    assert len(compose_points([offset, offset], 0, 0, stride=1, dilation=1)) == 4 * 9


def test_parts_move_by_their_share_of_the_roi_x_first():
    roi = np.array([10, 20, 29, 59])  # 20 wide, 40 high
    trans = np.zeros((2, 2, 2))
    trans[0, 0, 1], trans[1, 0, 1] = 1.0, -1.0
    boxes = part_boxes(roi, trans, trans_std=0.1).reshape(2, 2, 4)
    assert boxes[0, 0].tolist() == [10, 20, 20, 40]
    assert boxes[0, 1].tolist() == [20 + 2, 20 - 4, 30 + 2, 40 - 4]
