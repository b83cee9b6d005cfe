"""`.safetensors` files keep tensors, training copies and their origin; damaged ones are named."""

import errno
import json
from pathlib import Path

import pytest
import torch

from dcn_tasks.errors import InputError
from weights_convert import load_weights, save_weights

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


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_weights(path, TENSORS, {})
    before = path.read_bytes()

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(path, {"b": torch.zeros(1)}, {})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_disk_that_changes_a_bit_is_noticed(tmp_path, monkeypatch):
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: write(self, data[:-1] + bytes([data[-1] ^ 1])))
    with pytest.raises(OSError, match="did not come back"):
        save_weights(tmp_path / "m.safetensors", TENSORS, {})
    assert list(tmp_path.iterdir()) == []
