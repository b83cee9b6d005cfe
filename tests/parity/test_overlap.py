"""Work on a second core: order, failures, and that it does happen at the same time."""

import gc
import threading
import weakref

import numpy as np
import pytest

from dcn_suite.parity import overlap
from dcn_suite.parity.overlap import READY, Later, ahead

PATIENCE = 20  # seconds until a wait that should have ended is a failure


def test_results_come_in_order_and_a_bounded_number_is_computed_while_the_caller_works():
    begun = [threading.Event() for _ in range(5)]

    def compute(place: int) -> int:
        begun[place].set()
        return 10 * place

    found = ahead(compute, range(5))
    assert next(found) == 0
    assert begun[READY].wait(PATIENCE), "READY more were not begun before they were asked for"
    assert not begun[READY + 1].wait(0.1)
    assert list(found) == [10, 20, 30, 40]


def test_stages_draw_from_each_other_without_the_caller():
    done = threading.Event()

    def second(item: int) -> int:
        if item == READY:
            done.set()
        return -item

    found = ahead(second, ahead(lambda item: item, range(9)))
    assert next(found) == 0
    assert done.wait(PATIENCE), "the second stage waited for the caller"
    assert list(found) == [-item for item in range(1, 9)]


def threads_end(before: set[threading.Thread]) -> bool:
    """Whether all threads that are not of `before` end by themselves."""
    later = set(threading.enumerate()) - before
    for thread in later:
        thread.join(PATIENCE)
    return not any(thread.is_alive() for thread in later)


def test_a_caller_that_stops_early_leaves_no_thread():
    before = set(threading.enumerate())
    found = ahead(str, ahead(int, range(100)))
    assert next(found) == "0"
    found.close()
    del found
    gc.collect()
    assert threads_end(before)


def test_a_failure_comes_in_its_turn_and_ends_everything():
    before, drawn = set(threading.enumerate()), []
    found = ahead(lambda place: 1 / place, ahead(lambda place: drawn.append(place) or place, [2, 1, 0, 4, 5, 6, 7, 8]))
    assert [next(found), next(found)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert list(found) == []
    del found
    assert threads_end(before) and 8 not in drawn


def test_a_failure_to_draw_is_raised_too():
    with pytest.raises(ZeroDivisionError):
        list(ahead(str, (1 / place for place in [1, 0])))


def test_what_the_caller_has_is_held_by_nobody_else():
    found = ahead(lambda place: np.zeros(place), range(1, 4))
    first = weakref.ref(next(found))
    assert first() is None
    assert next(found).shape == (2,)
    assert [len(each) for each in found] == [3]


def test_nothing_to_compute():
    assert list(ahead(str, [])) == []


def test_calls_are_made_in_order_by_the_end_of_the_block():
    made = []
    with Later() as later:
        note = later(made.append)
        for place in range(6):
            note(place)
    assert made == list(range(6))


def test_calls_overlap_with_the_block():
    met = threading.Barrier(2, timeout=PATIENCE)
    with Later() as later:
        later(met.wait)()
        met.wait()


def test_a_failing_call_ends_the_others_and_is_raised_at_the_end():
    made = []
    with pytest.raises(ZeroDivisionError), Later() as later:
        later(lambda: 1 / 0)()
        for place in range(6):
            later(made.append)(place)
    assert made == []


def test_the_blocks_own_failure_is_the_one_that_is_raised():
    with pytest.raises(KeyError), Later() as later:
        later(lambda: 1 / 0)()
        raise KeyError("the block's")


@pytest.mark.parametrize("room, waiting", [(24, 3), (23, 2), (7, 1)])
def test_arrays_that_wait_fill_a_bounded_room(monkeypatch, room, waiting):
    monkeypatch.setattr(overlap, "WAITING", room)
    gate, submitted = threading.Event(), []

    def fill(later: Later) -> None:
        for place in range(5):
            later(lambda array: gate.wait(PATIENCE))(np.zeros(1))  # 8 bytes
            submitted.append(place)

    with Later() as later:
        filler = threading.Thread(target=fill, args=(later,))
        filler.start()
        filler.join(timeout=0.5)
        assert filler.is_alive() and len(submitted) == waiting
        gate.set()
        filler.join(PATIENCE)
    assert submitted == [0, 1, 2, 3, 4]
