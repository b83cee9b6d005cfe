"""Work on a second core: order, failures, and that it does happen at the same time."""

import threading

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
        for place in range(3 * overlap.WAITING):
            note(place)
    assert made == list(range(3 * overlap.WAITING))


def test_calls_overlap_with_the_block():
    met = threading.Barrier(2, timeout=PATIENCE)
    with Later() as later:
        later(met.wait)()
        met.wait()


def test_a_failing_call_ends_the_others_and_is_raised_at_the_end():
    made = []
    with pytest.raises(ZeroDivisionError), Later() as later:
        later(lambda: 1 / 0)()
        for place in range(3 * overlap.WAITING):
            later(made.append)(place)
    assert made == []


def test_the_blocks_own_failure_is_the_one_that_is_raised():
    with pytest.raises(KeyError), Later() as later:
        later(lambda: 1 / 0)()
        raise KeyError("the block's")


def test_no_more_than_a_few_calls_wait(monkeypatch):
    monkeypatch.setattr(overlap, "WAITING", 2)
    gate, submitted = threading.Event(), []

    def fill(later: Later) -> None:
        for place in range(4):
            later(gate.wait)(PATIENCE)
            submitted.append(place)

    with Later() as later:
        filler = threading.Thread(target=fill, args=(later,))
        filler.start()
        filler.join(timeout=0.5)
        assert filler.is_alive() and submitted == [0, 1]
        gate.set()
        filler.join(PATIENCE)
    assert submitted == [0, 1, 2, 3]
