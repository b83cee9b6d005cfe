"""Several processes that share every update, by MXNet's parameter server: a scheduler, servers that add up, workers that train.

MXNet's launcher tells every process its part in the environment: DMLC_ROLE (scheduler, server or worker), DMLC_PS_ROOT_URI
and DMLC_PS_ROOT_PORT of the scheduler, DMLC_NUM_SERVER, DMLC_NUM_WORKER. `python -m mxnet_ref.launch` sets them on one machine.
"""

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache

import mxnet as mx
from mxnet.base import _LIB, check_call

from dcn_tasks.errors import InputError
from mxnet_ref.role import ROLE, ROLES, WORKER

ADDRESS = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT")
COUNTS = ("DMLC_NUM_SERVER", "DMLC_NUM_WORKER")
KIND = "dist_sync"


@dataclass(frozen=True)
class Processes:
    """rank: of this process, from 0. size: processes that train. store: what adds up between them; None in a process alone."""

    rank: int = 0
    size: int = 1
    store: mx.kv.KVStore | None = None

    def wait(self) -> None:
        """Until every worker is here."""
        if self.store is not None:
            self.store._barrier()

    def leave_the_others(self) -> None:
        """This process ends early: MXNet would otherwise keep it, at its exit, until all the others have come to theirs."""
        if self.store is not None:
            check_call(_LIB.MXKVStoreSetBarrierBeforeExit(self.store.handle, 0))


ALONE = Processes()


@cache
def join() -> Processes:
    """The part that the environment gives this process; ALONE without DMLC_ROLE. A scheduler or server stays in here until
    all workers are done, then exits.

    Raises: InputError when the environment is incomplete.
    """
    if not ROLE:
        return ALONE
    counts = check_environment()
    os.environ["DMLC_ROLE"] = ROLE
    if ROLE != WORKER:
        serve()
        sys.exit(0)
    where = ":".join(os.environ[name] for name in ADDRESS)
    print(f"MXNet: waiting for the scheduler at {where}, {counts[0]} servers and {counts[1]} workers", file=sys.stderr)
    store = mx.kv.create(KIND)
    return Processes(store.rank, store.num_workers, store)


def check_environment() -> tuple[int, int]:
    """(servers, workers). MXNet itself would end the process, or wait for ever. Raises: InputError."""
    if ROLE not in ROLES:
        raise InputError(f"DMLC_ROLE: expected {', '.join(ROLES)}, got {ROLE!r}")
    missing = [name for name in (*ADDRESS, *COUNTS) if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"DMLC_ROLE is {ROLE}: expected {', '.join(missing)} beside it: unset it to train in one process, or let "
            "python -m mxnet_ref.launch set them all"
        )
    for name in (ADDRESS[1], *COUNTS):
        if not os.environ[name].isdecimal() or int(os.environ[name]) < 1:
            raise InputError(f"{name}: expected a whole number of at least 1, got {os.environ[name]!r}")
    servers, workers = (int(os.environ[name]) for name in COUNTS)
    return servers, workers


def serve() -> None:
    """Adds up what workers push until all of them are done. Commands are refused: to MXNet's own server they are pickled
    optimisers, which it would load; here the optimiser stays with the workers."""
    store = mx.kv.create(KIND)

    def refuse(head: int, body: bytes, _) -> None:
        print(f"MXNet {ROLE}: command {head} refused: expected sums alone", file=sys.stderr)

    controller = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(refuse)
    check_call(_LIB.MXKVStoreRunServer(store.handle, controller, None))
