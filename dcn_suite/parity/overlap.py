"""Work on a second core: what comes next is computed while the last result is judged, results are judged while a network runs.

Both frameworks leave a core idle for long: MXNet's float64 convolutions run on one thread, and so does NumPy.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from threading import Condition, Event, Semaphore, Thread, main_thread
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Found = TypeVar("Found")
READY = 2  # results in the making or waiting to be asked for: some take longer to compute than to use, others less
PATIENCE = 0.5  # seconds between two looks whether the process still wants results
WAITING = 1 << 30  # bytes of a running network's arrays that wait to be judged, and are kept in memory for that


def ahead(function: Callable[[Item], Found], items: Iterable[Item]) -> Iterator[Found]:
    """function(item) of every item, in order, up to READY of them computed before the caller asks.

    One thread, another than the caller's, draws the items and makes all calls: what is drawn from another `ahead` is computed
    by a third. Raises: what drawing an item or a call raised, in its turn; nothing is computed after it.
    A caller that stops early does not wait for the calls that are being made.
    """
    results: SimpleQueue[tuple[list[Found], BaseException | None]] = SimpleQueue()
    room, stopped = Semaphore(READY), Event()

    def wanted() -> bool:
        """Waits until there is room. False: nobody asks any more, or the process ends with the caller suspended."""
        while not room.acquire(timeout=PATIENCE):
            if not main_thread().is_alive():
                return False
        return not stopped.is_set()

    def work() -> None:
        source = iter(items)
        try:
            while wanted() and (drawn := list(islice(source, 1))):
                results.put(([function(drawn.pop())], None))
            results.put(([], None))
        except BaseException as error:  # it is raised in the thread that asks
            results.put(([], error))

    Thread(target=work).start()
    try:
        while True:
            result, failure = results.get()
            if failure is not None:
                raise failure
            if not result:
                return
            room.release()
            yield result.pop()  # nothing here holds it any more
    finally:
        failure = None  # its traceback holds this frame
        stopped.set()
        room.release()  # not joined: whichever thread collects an abandoned generator, even its own, comes here


class Later:
    """A block's calls that another thread makes, in order; the block ends when all are made.

    Arrays given to pending calls have at most WAITING bytes together, one array aside: the next call waits. A network's forward
    pass hands out its arrays faster than they are judged, and its backward pass none: what is pending is judged then.

    Raises: at the end, what the first failing call raised, unless the block itself raised; calls after a failing one are not
        made.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.pending = 0  # bytes
        self.freed = Condition()
        self.failure: BaseException | None = None

    def __call__(self, function: Callable) -> Callable[..., None]:
        """The function, to be called now and carried out later."""

        def submit(*args: object) -> None:
            size = sum(each.nbytes for each in args if isinstance(each, np.ndarray))
            with self.freed:
                self.freed.wait_for(lambda: not self.pending or self.pending + size <= WAITING)
                self.pending += size
            self.thread.submit(self.carry_out, size, function, *args)

        return submit

    def carry_out(self, size: int, function: Callable, *args: object) -> None:
        try:
            if self.failure is None:
                function(*args)
        except BaseException as error:  # it is raised in the thread that waits
            self.failure = error
        finally:
            with self.freed:
                self.pending -= size
                self.freed.notify()

    def __enter__(self) -> "Later":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        if error is not None and self.failure is None:
            self.failure = error  # what is pending need not be done
        self.thread.shutdown()
        if self.failure is not None and error is None:
            raise self.failure
