"""Damaged files, thousands of them: always an InputError or a whole result, in bounded time and memory."""

import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dcn_tasks.errors import InputError
from tests.convert import file_bytes as fb
from weights_convert import load_params

DATA = Path(__file__).parent / "data"
GRID = np.arange(6, dtype=np.float32).reshape(2, 3)
SEEDS = {
    "V0 V1": fb.nd_list([fb.v0(GRID), fb.v1(GRID.astype(np.int8))], ["arg:a", "aux:b"]),
    "V2 V3": fb.nd_list([fb.v2(GRID.astype(bool)), fb.v3(GRID)], ["a", "b"]),
    "sparse": fb.nd_list(
        [
            fb.row_sparse(GRID[:, :2].copy(), np.array([0, 3]), (4, 2)),
            fb.csr(GRID[0], np.array([0, 2, 3]), np.array([0, 2, 1]), (2, 3)),
        ],
        ["arg:r", "arg:c"],
    ),
    "npz": (DATA / "mxnet2_sparse.npz").read_bytes(),
}
EXTREME = [0, 1, -1, 2, 0x7F, 0xFF, 1 << 30, (1 << 31) - 1, -(1 << 31), 1 << 40, 1 << 60, (1 << 63) - 1]
ROUNDS = 1000
MEMORY_BOUND = 4 << 20  # bytes; the largest seed has 3 KiB
SECONDS_A_FILE = 0.5  # of processor time: others may be using the machine


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three random wounds: a flipped bit, an extreme number, a cut, a repeat, a foreign insertion."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, max(len(out), 1)))
        wound = rng.integers(0, 6)
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
        else:
            out[place:place] = rng.bytes(4)
    return bytes(out)


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_files_end_in_a_sentence_or_a_result(tmp_path, seed):
    rng = np.random.default_rng(20171)
    refused = 0
    tracemalloc.start()
    try:
        for _ in range(ROUNDS):
            path = tmp_path / "a.params"
            path.write_bytes(damaged(SEEDS[seed], rng))
            tracemalloc.reset_peak()
            started = time.process_time()
            try:
                for _, array in load_params(path).items():
                    assert array.dtype is not None
            except InputError as error:
                refused += 1
                assert str(path) in str(error)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_BOUND
            assert time.process_time() - started < SECONDS_A_FILE
    finally:
        tracemalloc.stop()
    assert refused > ROUNDS // 4  # the wounds do hurt


def test_as_many_empty_records_as_allowed_stay_within_a_bound(tmp_path):
    path = tmp_path / "a.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1 << 16) + bytes(4 << 16) + bytes(8) + b"!")
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="1 bytes follow"):
            load_params(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 30
