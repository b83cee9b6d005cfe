"""The witness that hands out what MXNet computes: it keeps nothing of it."""

import numpy as np
import pytest

mx = pytest.importorskip("mxnet", reason="MXNet is not installed")

from mxnet_ref.witness import Witness  # noqa: E402


def test_every_array_that_mxnets_monitor_hands_over_is_freed(monkeypatch):
    """A handle that nobody wraps is never freed: one backward pass at full size kept gigabytes."""
    node = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc"), act_type="relu")
    weights = {"fc_weight": np.ones((3, 4)), "fc_bias": np.ones(3)}
    handed, freed, seen = [], [], []
    original = mx.executor.Executor.set_monitor_callback
    free = mx.nd.NDArray.__del__

    def watching(executor, callback, *rest):
        def counted(name, handle):
            handed.append(handle)
            callback(name, handle)

        original(executor, counted, *rest)

    def counting(array):
        address = array.handle if isinstance(array.handle, int) else array.handle.value
        freed.append(address)
        free(array)

    monkeypatch.setattr(mx.executor.Executor, "set_monitor_callback", watching)
    monkeypatch.setattr(mx.nd.NDArray, "__del__", counting)
    Witness(node, weights, {}, "float64").chain(
        {"data": np.ones((2, 4))}, is_train=True, grad=True, sink=lambda key, array: seen.append(key)
    )
    assert len(handed) > len(seen) >= 2  # those of the backward pass too
    assert set(handed) <= set(freed)
