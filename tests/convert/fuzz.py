"""Mutated files through every reader of untrusted files: a sentence or a result, never a crash, a hang, or much memory.

    python -m tests.convert.fuzz --count 1000000 --processes 2 --out benchmarks/results/reader_fuzz.json

Every seed file is damaged at random places and read with its own reader. A file passes if the reader returns, or
raises InputError; within 1 s of processor time; with no more address space than 2 x its size + 64 MiB beyond what the
process had (RLIMIT_AS, so native code counts too). A failing file is found again by its batch number.
"""

import argparse
import json
import multiprocessing
import platform
import re
import resource
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.progress import track

from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from tests.convert import file_bytes as fb
from weights_convert import load_params, load_symbol, load_weights
from weights_convert.safetensors_stream import header_of

DATA = Path(__file__).parent / "data"
BATCH = 2000  # files of one random stream
SECONDS_A_FILE = 1.0
BYTES_A_FILE = 64 << 20  # and twice the file
EXTREME = [0, 1, -1, 2, 0x7F, 0xFF, 1 << 30, (1 << 31) - 1, -(1 << 31), 1 << 40, 1 << 60, (1 << 63) - 1]
TEXTS = [str(value).encode() for value in EXTREME] + [b"1e400", b"NaN", b"null", b"[]", b"{}", b'"x"', b"[" * 2000]
GRID = np.arange(6, dtype=np.float32).reshape(2, 3)
Reader = Callable[[Path], object]


class Hang(Exception):
    """A reader took more than SECONDS_A_FILE of processor time."""


def read_params(path: Path) -> None:
    for _, array in load_params(path).items():
        assert array.dtype is not None


def symbol(key: str, version: int | None) -> bytes:
    nodes = [{"op": "null", "name": name, "inputs": []} for name in ("data", "w", "gamma", "beta", "mean", "var")]
    nodes[1][key] = {"lr_mult": "2", "__shape__": "(4, 3, 1, 1)"}
    nodes.append({"op": "Convolution", "name": "c", key: {"kernel": "(1, 1)"}, "inputs": [[0, 0, 0], [1, 0, 0]]})
    nodes.append({"op": "BatchNorm", "name": "b", "inputs": [[6, 0, 0], *([n, 0, int(n > 3)] for n in (2, 3, 4, 5))]})
    top = {"nodes": nodes, "arg_nodes": [0, 1, 2, 3], "heads": [[7, 0, 0]]}
    return json.dumps(top | ({"attrs": {"mxnet_version": ["int", version]}} if version else {})).encode()


def safetensors() -> bytes:
    header, _ = header_of({"a": GRID, "b": GRID.astype(np.int8)}, {"source": "x"})
    return header + GRID.tobytes() + GRID.astype(np.int8).tobytes()


SEEDS: dict[str, tuple[bytes, Reader]] = {
    "V0 V1": (fb.nd_list([fb.v0(GRID), fb.v1(GRID.astype(np.int8))], ["arg:a", "aux:b"]), read_params),
    "V2 V3": (fb.nd_list([fb.v2(GRID.astype(bool)), fb.v3(GRID)], ["a", "b"]), read_params),
    "sparse": (
        fb.nd_list(
            [
                fb.row_sparse(GRID[:, :2].copy(), np.array([0, 3]), (4, 2)),
                fb.csr(GRID[0], np.array([0, 2, 3]), np.array([0, 2, 1]), (2, 3)),
            ],
            ["arg:r", "arg:c"],
        ),
        read_params,
    ),
    "npz": ((DATA / "mxnet2_sparse.npz").read_bytes(), read_params),
    "symbol, 0.8": (symbol("param", None), load_symbol),
    "symbol, 0.11": (symbol("attr", 1100), load_symbol),
    "symbol, 1.9": (symbol("attrs", 10901), load_symbol),
    "safetensors": (safetensors(), load_weights),
}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three random wounds: a flipped bit, an extreme number, a cut, a repeat, a foreign insertion."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, max(len(out), 1)))
        wound = rng.integers(0, 7)
        if wound == 0 and out:
            out[place] ^= 1 << int(rng.integers(0, 8))
        elif wound in (1, 2):
            letter = "iq"[wound - 1]
            value = int(rng.choice(EXTREME))
            if letter == "i":
                value = max(min(value, (1 << 31) - 1), -(1 << 31))
            out[place : place + struct.calcsize(letter)] = struct.pack("<" + letter, value)
        elif wound == 3:
            del out[place:]
        elif wound == 4:
            out[place:place] = out[place : place + 16]
        elif wound == 5:
            out[place:place] = rng.bytes(4)
        elif number := re.search(rb"\d+", out[place:]):  # a number written as text, as in JSON
            begin, end = number.span()
            out[place + begin : place + end] = TEXTS[int(rng.integers(0, len(TEXTS)))]
    return bytes(out)


@contextmanager
def limited(address_space: int) -> Iterator[None]:
    """Processor time per `signal.setitimer(ITIMER_PROF)` ends in Hang; more address space ends in MemoryError."""

    def hang(signum: int, frame: object) -> None:
        raise Hang

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    handler = signal.signal(signal.SIGPROF, hang)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + address_space, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)


def one_file(seed: str, data: bytes, path: Path) -> str:
    """ "read", "refused", or what went wrong."""
    path.write_bytes(data)
    try:
        with limited(2 * len(data) + BYTES_A_FILE):
            signal.setitimer(signal.ITIMER_PROF, SECONDS_A_FILE)
            SEEDS[seed][1](path)
        return "read"
    except InputError as error:
        return "refused" if str(path) in str(error) else f"a sentence without the path: {error}"
    except Exception as error:  # Hang and MemoryError too: whatever else leaves a reader is a fault of its
        return f"{type(error).__name__}: {error}"


def run_batch(number: int) -> tuple[Counter, list[dict[str, object]]]:
    """BATCH damaged copies of one seed. Returns the counts by (seed, outcome) and the faults."""
    seed = list(SEEDS)[number % len(SEEDS)]
    rng = np.random.default_rng([20171, number])
    counts, faults = Counter(), []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        path = Path(folder) / "a.params"
        path.write_bytes(SEEDS[seed][0])
        SEEDS[seed][1](path)  # undamaged it must be read; and what a reader imports stands outside the limit
        for place in range(BATCH):
            outcome = one_file(seed, damaged(SEEDS[seed][0], rng), path)
            counts[(seed, outcome if outcome in ("read", "refused") else "fault")] += 1
            if outcome not in ("read", "refused"):
                faults.append({"batch": number, "place": place, "seed": seed, "fault": outcome})
    return counts, faults


def run_for(seconds: float) -> tuple[Counter, list[dict[str, object]]]:
    """Batches of every seed in turn, until `seconds` are over and every seed has had its turn."""
    counts, faults, number, end = Counter(), [], 0, time.monotonic() + seconds
    while time.monotonic() < end or number < len(SEEDS):
        more, bad = run_batch(number)
        counts, faults, number = counts + more, faults + bad, number + 1
    return counts, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="files; rounded up to whole batches")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON of the result")
    args = parser.parse_args()
    batches = -(-args.count // BATCH)
    counts, faults, started = Counter(), [], time.monotonic()
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        work = pool.imap_unordered(run_batch, range(batches))
        for more, bad in track(work, "mutated files", total=batches, disable=not sys.stderr.isatty()):
            counts, faults = counts + more, faults + bad
    seeds = {seed: {what: counts[(seed, what)] for what in ("read", "refused", "fault")} for seed in SEEDS}
    result = {
        "command": f"python -m tests.convert.fuzz --count {args.count} --processes {args.processes}",
        "files": batches * BATCH,
        "seconds": round(time.monotonic() - started, 1),
        "python": platform.python_version(),
        "seeds": seeds,
        "faults": faults,
    }
    print(json.dumps(result, indent=2))
    if args.out:
        with atomic_path(args.out) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
