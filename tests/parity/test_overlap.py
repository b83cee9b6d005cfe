"""Work on a second core: order, failures, and that it does happen at the same time."""

import threading

import numpy as np
import pytest

from dcn_suite.parity import overlap
from dcn_suite.parity.overlap import Later, ahead

PATIENCE = 20  # seconds until a wait that should have ended is a failure


def test_results_come_in_order_and_the_next_is_computed_while_the_caller_works():
    begun = [threading.Event() for _ in range(3)]

    def compute(place: int) -> int:
        begun[place].set()
        return 10 * place

    found = ahead(compute, range(3))
    assert next(found) == 0
    assert begun[1].wait(PATIENCE), "the second was not begun before it was asked for"
    assert not begun[2].is_set()
    assert list(found) == [10, 20]


def test_a_failure_comes_in_its_turn():
    found = ahead(lambda place: 1 / place, [2, 1, 0])
    assert [next(found), next(found)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(found)


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
