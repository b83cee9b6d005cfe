"""Arrays on disk while a comparison lasts: what comes back is what went in, of every shape and type."""

import os

import numpy as np
import pytest

from dcn_suite.parity import uncached
from dcn_suite.parity.reference import PERIOD, head_gradients
from dcn_suite.parity.scratch import LiveRecording, Scratch

SHAPES = [(), (0,), (1,), (3, 0, 2), (1023,), (1024,), (1025,), (2, 3, 5), (1 << 21, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.bool_])
@pytest.mark.parametrize("direct", [True, False])
def test_an_array_comes_back_bit_for_bit(tmp_path, monkeypatch, shape, dtype, direct):
    if not direct:
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    array = (np.random.default_rng(0).random(shape) * 255).astype(dtype)
    scratch = Scratch(tmp_path)
    scratch["a"] = array
    assert (tmp_path / "00000").stat().st_size == array.nbytes
    assert scratch["a"].dtype == array.dtype and scratch["a"].shape == array.shape
    np.testing.assert_array_equal(scratch["a"], array)


def test_a_file_system_without_direct_access_is_written_as_any_other(tmp_path, monkeypatch):
    asked, system = [], os.open

    def refusing(path, flags, *rest):
        asked.append(flags)
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return system(path, flags, *rest)

    monkeypatch.setattr(os, "open", refusing)
    uncached.write(tmp_path / "a", np.arange(5000.0))
    np.testing.assert_array_equal(uncached.read(tmp_path / "a", np.dtype(float), (5000,)), np.arange(5000.0))
    assert len(asked) == 4


def test_arrays_of_any_layout_and_a_second_shorter_one_of_a_name(tmp_path):
    scratch = Scratch(tmp_path)
    array = np.arange(24.0).reshape(4, 6)
    scratch["a"] = array.T
    np.testing.assert_array_equal(scratch["a"], array.T)
    scratch["a"] = array[::2, 1]
    np.testing.assert_array_equal(scratch["a"], [1.0, 13.0])


def test_a_file_that_was_cut_is_an_error(tmp_path):
    scratch = Scratch(tmp_path)
    scratch["a"] = np.arange(5000.0)
    os.truncate(tmp_path / "00000", 4096)
    with pytest.raises(OSError, match="expected 40000 bytes, got 4096"):
        scratch["a"]


def test_what_the_training_graph_gave_is_not_written_again(tmp_path):
    recording = LiveRecording(tmp_path, "MXNet", {})
    recording["train/float32/conv"] = np.array([0.0, np.nan])
    recording["test/float32/conv"] = np.array([0.0, np.nan])
    recording["test/float32/other"] = np.array([0.0, 1.0])
    assert list(recording) == ["train/float32/conv", "test/float32/other"]
    recording["test/float32/conv"] = np.array([-0.0, np.nan])
    assert "test/float32/conv" in recording


def test_head_gradients_of_a_large_map_repeat_and_those_of_a_small_one_do_not():
    (large,) = head_gradients("conv", [np.empty((1, 3, 1000, 1000))])
    (small,) = head_gradients("conv", [np.empty((PERIOD,))])
    assert large.shape == (1, 3, 1000, 1000) and large.dtype == np.float32
    np.testing.assert_array_equal(large.reshape(-1)[: PERIOD + 5], np.concatenate([small, small[:5]]))
    assert len(np.unique(small)) > 0.9 * PERIOD and abs(small.std() - 1) < 0.01
