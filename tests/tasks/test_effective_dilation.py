"""Effective dilation against a loop over filters, and at its known values."""

import numpy as np
import pytest

from dcn_tasks.scoring.effective_dilation import SIZES, EffectiveDilation, neighbour_distances, object_sizes

SMALL, MEDIUM, LARGE, BACKGROUND = range(len(SIZES))


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_a_filter_without_offsets_has_its_own_dilation(dilation):
    assert (neighbour_distances(np.zeros((18, 3, 4), np.float32), dilation) == dilation).all()


def test_stretched_offsets_multiply_it():
    """Offsets that move every point to twice its place."""
    y, x = np.meshgrid([-2, 0, 2], [-2, 0, 2], indexing="ij")
    offsets = np.stack([y.ravel(), x.ravel()], axis=1).reshape(18, 1, 1)
    assert neighbour_distances(offsets, 2) == pytest.approx(4.0)


@pytest.mark.parametrize("groups", [1, 4])
def test_it_is_the_mean_over_neighbouring_pairs(groups):
    offsets = np.random.default_rng(0).normal(size=(18 * groups, 2, 3))
    expected = np.zeros((2, 3))
    for place in np.ndindex(2, 3):
        lengths = []
        for group in range(groups):
            own = offsets[(slice(18 * group, 18 * (group + 1)), *place)].reshape(9, 2)
            points = {
                (i, j): (2 * i + own[3 * i + j, 0], 2 * j + own[3 * i + j, 1]) for i in range(3) for j in range(3)
            }
            for (i, j), point in points.items():
                lengths += [
                    np.hypot(*np.subtract(points[at], point)) for at in ((i + 1, j), (i, j + 1)) if at in points
                ]
        assert len(lengths) == 12 * groups
        expected[place] = np.mean(lengths)
    np.testing.assert_allclose(neighbour_distances(offsets, 2, groups), expected, rtol=1e-12)


def test_a_centre_counts_for_the_smallest_box_it_lies_in():
    boxes = np.array([[0, 0, 299, 299], [0, 0, 99, 99], [0, 0, 49, 49], [400, 0, 400, 0]], float)
    sizes = object_sizes(boxes, (20, 40), 16.0)  # centres at 8, 24, ...
    assert (sizes[:3, :3] == SMALL).all() and sizes[0, 3] == MEDIUM  # 56 is beyond 49
    assert sizes[5, 5] == MEDIUM and sizes[6, 6] == LARGE  # 88, 104
    assert sizes[18, 18] == LARGE and sizes[19, 18] == BACKGROUND  # 296, 312
    assert (object_sizes(np.zeros((0, 4)), (2, 2), 16.0) == BACKGROUND).all()


@pytest.mark.parametrize(("side", "size"), [(95, SMALL), (96, MEDIUM), (223, MEDIUM), (224, LARGE)])
def test_sizes_part_at_96_and_224_pixels(side, size):
    assert object_sizes(np.array([[0.0, 0.0, side - 1, side - 1]]), (1, 1), 1.0) == size


def test_figures_are_over_all_positions_of_all_images():
    rng, dilation = np.random.default_rng(1), EffectiveDilation()
    images = [(rng.uniform(1, 9, (4, 5)), rng.integers(0, 3, (4, 5))) for _ in range(3)]
    for distances, sizes in images:
        dilation.add(distances, sizes)
    found = dilation.figures()
    assert list(found) == ["small", "medium", "large"]
    for place, name in enumerate(found):
        values = np.concatenate([distances[sizes == place] for distances, sizes in images])
        assert found[name] == pytest.approx((values.mean(), values.std(), len(values)), rel=1e-9)
