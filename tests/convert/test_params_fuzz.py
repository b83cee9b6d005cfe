"""Damaged files, thousands of them: always an InputError or a whole result, in bounded time and memory."""

import struct
import time
import tracemalloc

import pytest

from dcn_tasks.errors import InputError
from tests.convert import fuzz
from weights_convert import load_params

SECONDS = 60


def test_damaged_files_end_in_a_sentence_or_a_result():
    counts, faults = fuzz.run_for(SECONDS)
    assert not faults, faults[:5]
    for seed in fuzz.SEEDS:
        assert counts[(seed, "refused")] > fuzz.BATCH // 4, f"the wounds of {seed} do not hurt"
        assert counts[(seed, "read")] > 0, f"no wound of {seed} is harmless: does its reader read anything?"


@pytest.mark.parametrize(
    ("reader", "fault"),
    [
        (lambda path: bytearray(fuzz.BYTES_A_FILE * 4), "MemoryError"),
        (lambda path: [None for _ in iter(int, 1)], "Hang|MemoryError"),
        (lambda path: {}["missing"], "KeyError"),
    ],
    ids=["memory", "hang", "another exception"],
)
def test_fuzzing_sees_a_faulty_reader(tmp_path, monkeypatch, reader, fault):
    monkeypatch.setitem(fuzz.SEEDS, "faulty", (b"x", reader))
    assert fuzz.re.match(fault, fuzz.one_file("faulty", b"x", tmp_path / "a"))


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
