"""Random draws: the same at the same place, different elsewhere."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcn_tasks.streams import Draws


def test_asking_twice_gives_the_same_numbers_whatever_was_drawn_between() -> None:
    draws = Draws(3, step=7)
    first = draws.generator("anchors.fg").random(5)
    draws.generator("anchors.bg").random(100)
    np.testing.assert_array_equal(draws.generator("anchors.fg").random(5), first)


def test_seed_step_and_site_each_change_the_stream() -> None:
    streams = [
        Draws(seed, step).generator(site).random(4).tolist()
        for seed in (0, 1)
        for step in (0, 1)
        for site in ("anchors.fg", "anchors.bg", "proposal.padding", "order")
    ]
    assert len({tuple(stream) for stream in streams}) == 16


def test_another_process_draws_the_same() -> None:
    code = "from dcn_tasks.streams import Draws; print(Draws(5, 2).choice('order', 50, 10, False).tolist())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other.strip() == str(Draws(5, 2).choice("order", 50, 10, False).tolist())


def test_draws_are_these_under_numpy_1_23_and_2_2() -> None:
    assert Draws(5, 2).choice("order", 50, 6, False).tolist() == [28, 17, 41, 22, 5, 36]
    assert Draws(5, 2).choice("proposal.padding", 50, 6, True).tolist() == [5, 15, 48, 27, 5, 28]


@given(st.integers(0, 2**32), st.integers(1, 40), st.data())
def test_without_repetition_members_are_distinct_and_from_the_population(seed: int, count: int, data) -> None:
    size = data.draw(st.integers(0, count))
    population = np.arange(count) * 3 + 100
    drawn = Draws(seed).choice("order", population, size, replace=False)
    assert len(set(drawn.tolist())) == size and set(drawn.tolist()) <= set(population.tolist())


def test_every_member_is_drawn_equally_often() -> None:
    counts = sum(
        np.bincount(Draws(0, step).choice("flip", 8, 3, replace), minlength=8)
        for step in range(2000)
        for replace in (True, False)
    )
    # 12000 draws over 8 members: 1500 each, standard deviation 36; five of them
    assert np.abs(counts - 1500).max() < 5 * 36


@pytest.mark.parametrize(("members", "size", "replace"), [(3, 4, False), (0, 1, True)])
def test_too_few_members_is_an_error_that_names_the_site(members: int, size: int, replace: bool) -> None:
    with pytest.raises(ValueError, match=r"proposal\.padding: cannot take"):
        Draws(0).choice("proposal.padding", members, size, replace)
