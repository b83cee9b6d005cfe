"""Runs a training in several MXNet processes on this machine, as MXNet's own launcher does on several.

python -m mxnet_ref.launch --workers 2 -m dcn_suite.cli.main train CONFIG --framework mxnet --output DIR
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from dcn_tasks.processors import count_cores
from mxnet_ref.processes import join
from mxnet_ref.role import ROLE, SCHEDULER, SERVER, WORKER

HOME = "127.0.0.1"  # the sums need not leave this machine
LOOK_SECONDS = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Returns: 0 when every worker ended with 0, else the exit code of the first that did not; the others are then stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m mxnet_ref.launch",
        description="Starts a scheduler, servers and workers of MXNet's parameter server (kvstore dist_sync) on this machine.",
        epilog="example: python -m mxnet_ref.launch --workers 2 -m dcn_suite.cli.main train demo/narrow_rfcn_dcn "
        "--framework mxnet --images-per-update 2 --output run",
    )
    parser.add_argument("--workers", type=count, required=True, metavar="N", help="processes that train")
    parser.add_argument("--servers", type=count, default=1, metavar="N", help="processes that add up (default: 1)")
    parser.add_argument("-m", dest="command", nargs=argparse.REMAINDER, required=True, metavar="MODULE ...",
                        help="what every worker runs, with its options")  # fmt: skip
    args = parser.parse_args(argv)
    if not args.command:
        parser.error("-m: expected a module and its options")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that none outlives it
    parts = [SCHEDULER, *[SERVER] * args.servers, *[WORKER] * args.workers]
    shared = {"DMLC_PS_ROOT_URI": HOME, "DMLC_PS_ROOT_PORT": str(free_port()), "DMLC_NODE_HOST": HOME}
    shared |= {"DMLC_NUM_SERVER": str(args.servers), "DMLC_NUM_WORKER": str(args.workers)}
    shared |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(count_cores() // args.workers, 1)))}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", *(args.command if part == WORKER else [__spec__.name])],
            env=os.environ | shared | {"DMLC_ROLE": part},
        )
        for part in parts
    ]
    try:
        return watch(running)
    finally:
        for process in running:
            process.kill()
            process.wait()


def watch(running: Sequence[subprocess.Popen]) -> int:
    """Until all have ended, or one of them badly. Returns: its exit code."""
    while True:
        codes = [process.poll() for process in running]
        if bad := [code for code in codes if code]:
            return bad[0] if bad[0] > 0 else 128 - bad[0]  # ended by a signal: as a shell says it
        if None not in codes:
            return 0
        time.sleep(LOOK_SECONDS)


def count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {word!r}")
    return int(word)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOME, 0))
        return listener.getsockname()[1]


if __name__ == "__main__":
    if ROLE in (SCHEDULER, SERVER):  # started by main
        join()
    sys.exit(main())
