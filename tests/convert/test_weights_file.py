"""`.safetensors` files keep tensors, training copies and their origin; damaged ones are named."""

import errno
import io
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from dcn_tasks.errors import InputError
from weights_convert import load_weights, save_weights, weights_file
from weights_convert.arrays import same_bits
from weights_convert.safetensors_stream import NAME_OF_DTYPE, write_safetensors
from weights_convert.tensors import to_array
from weights_convert.weights_file import listed_texts

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "train/a.weight": torch.ones(2, 3, dtype=torch.bfloat16)}


def test_tensors_and_metadata_come_back(tmp_path):
    save_weights(tmp_path / "m.safetensors", TENSORS, {"source": "x.params", "fresh": ["a", "b"]})
    file = load_weights(tmp_path / "m.safetensors")
    assert torch.equal(file.state["a.weight"], TENSORS["a.weight"])
    assert file.train["a.weight"].dtype == torch.bfloat16
    assert file.tensors().keys() == TENSORS.keys()
    assert file.metadata["source"] == "x.params" and json.loads(file.metadata["fresh"]) == ["a", "b"]


@pytest.mark.parametrize("length", [0, 4, 8, 40, -1])
def test_cut_file_is_refused(tmp_path, length):
    path = tmp_path / "m.safetensors"
    save_weights(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"m\.safetensors"):
        load_weights(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_weights(tmp_path / "m.safetensors")


def test_arrays_are_written_as_tensors_are(tmp_path):
    arrays = {name: to_array(tensor) for name, tensor in TENSORS.items()}
    save_weights(tmp_path / "arrays.safetensors", arrays, {"source": "x"})
    save_weights(tmp_path / "tensors.safetensors", TENSORS, {"source": "x"})
    assert (tmp_path / "arrays.safetensors").read_bytes() == (tmp_path / "tensors.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", sorted(NAME_OF_DTYPE, key=str), ids=str)
def test_every_type_is_read_by_the_safetensors_package(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    arrays = {"a": array, "empty": array[:0], "scalar": array[0, 1:2].reshape(())}
    save_weights(tmp_path / "m.safetensors", arrays, {})
    state = load_weights(tmp_path / "m.safetensors").state
    for name, expected in arrays.items():
        assert same_bits(to_array(state[name]), expected)


def test_array_at_an_odd_address_is_written_as_it_is(tmp_path):
    """As in a mapped `.params` file whose arrays follow one of five bytes."""
    odd = np.frombuffer(b"\0" + np.arange(5.0).tobytes(), np.float64, offset=1)
    assert not odd.flags.aligned
    save_weights(tmp_path / "m.safetensors", {"a": odd}, {})
    assert load_weights(tmp_path / "m.safetensors").state["a"].tolist() == [0, 1, 2, 3, 4]


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_weights(path, TENSORS, {})
    before = path.read_bytes()

    def full(file, arrays, metadata):
        file.write(b"12345")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(weights_file, "write_safetensors", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(path, {"b": torch.zeros(1)}, {})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(("place", "named"), [(-1, "train/a.weight"), (9, "the header"), (None, "the file's length")])
def test_disk_that_changes_a_byte_is_noticed(tmp_path, monkeypatch, place, named):
    def write(file, arrays, metadata):
        buffer = io.BytesIO()
        write_safetensors(buffer, arrays, metadata)
        data = bytearray(buffer.getvalue())
        if place is None:
            data += b"!"
        else:
            data[place] ^= 1
        file.write(data)

    monkeypatch.setattr(weights_file, "write_safetensors", write)
    with pytest.raises(OSError, match=f"{named} did not come back"):
        save_weights(tmp_path / "m.safetensors", TENSORS, {})
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
import numpy as np
from weights_convert import save_weights

block = np.arange(1 << 18, dtype=np.float32)
print("ready", flush=True)
save_weights(sys.argv[1], {f"layer{n}.weight": block + n for n in range(64)}, {})
"""


def hidden_bytes(folder: Path) -> int:
    total = 0
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # renamed since
            total += entry.stat().st_size if entry.name.startswith(".") else 0
    return total


@pytest.mark.parametrize("written", [0, 1 << 20, 40 << 20, 64 << 20])
def test_killed_writer_leaves_the_old_file_or_a_whole_new_one(tmp_path, written):
    """SIGKILL once the hidden temporary file has so many of its 64 MiB; the last comes while it is compared."""
    path = tmp_path / "m.safetensors"
    save_weights(path, TENSORS, {})
    before = path.read_bytes()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"ready\n"
    while writer.poll() is None and hidden_bytes(tmp_path) < written + 1:
        time.sleep(0.0005)
    writer.kill()
    writer.communicate()
    if path.read_bytes() != before:  # it was quicker than the signal
        state = load_weights(path).state
        assert len(state) == 64 and state["layer63.weight"][-1] == (1 << 18) + 62
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == [path.name]


def claim(path: Path, dtype: str, shape: list[int], values: bytes = b"") -> Path:
    """A file of one tensor, as its header claims it to be."""
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(values)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + values)
    return path


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0"])
def test_type_that_numpy_has_not_is_named(tmp_path, dtype):
    path = claim(tmp_path / "m.safetensors", dtype, [2], b"ab")
    with pytest.raises(InputError, match=r"m\.safetensors: a: expected a type .* got torch\.float8_\w+ \[2\]"):
        load_weights(path)


@pytest.mark.parametrize("shape", [[0, 2**62, 4], [0, 2**63, 4], [0, 2**64 - 1], [2**40, 2**40]])
def test_shape_past_every_limit_is_refused(tmp_path, shape):
    with pytest.raises(InputError, match=r"m\.safetensors: [^\n]*$"):
        load_weights(claim(tmp_path / "m.safetensors", "F32", shape))


NO_LISTS = {"cut": "{", "number": "5", "numbers": "[1]", "object": '{"a": 1}', "deep": "[" * 100_000}


@pytest.mark.parametrize("text", NO_LISTS.values(), ids=NO_LISTS)
def test_metadata_that_is_no_list_of_texts_is_refused(text):
    with pytest.raises(InputError, match=r"m\.safetensors: expected a JSON list of texts as notes"):
        listed_texts("m.safetensors", {"notes": text}, "notes")
    assert listed_texts("m.safetensors", {"notes": text}, "aux") == []
