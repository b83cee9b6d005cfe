"""Custom operators whose mistakes reach the user.

An exception inside a Custom operator travels through MXNet's engine, which loses its text and can leave the engine
waiting for ever when the process ends (MXNet 1.9.1: an operator downstream of the failed one is skipped without being
marked as done). So operators here don't let it out: they keep it, hand out zeros, and `raise_failure`, called wherever
this package has waited for a graph, raises it.
"""

import sys
import threading
from collections.abc import Sequence

import mxnet as mx
import numpy as np

_failures: list[BaseException] = []
_lock = threading.Lock()


class GuardedOp(mx.operator.CustomOp):
    """A Custom operator without gradient. Subclasses compute their outputs from NumPy arrays in `compute`."""

    name = "custom"

    def compute(self, inputs: list[np.ndarray]) -> Sequence[np.ndarray]:
        """One array per output, of the output's shape."""
        raise NotImplementedError

    def forward(self, is_train, req, in_data, out_data, aux):
        try:
            with np.errstate(
                invalid="ignore", over="ignore"
            ):  # a network that diverges is for the training loop to report
                values = list(self.compute([array.asnumpy() for array in in_data]))
            for value, output in zip(values, out_data, strict=True):
                if value.shape != output.shape:
                    raise ValueError(f"expected an output {list(output.shape)}, got {list(value.shape)}")
        except Exception as error:
            keep_failure(self.name, error)
            values = [np.zeros(output.shape, output.dtype) for output in out_data]
        for output, how, value in zip(out_data, req, values, strict=True):
            self.assign(output, how, mx.nd.array(value, dtype=output.dtype))

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        for gradient, how in zip(in_grad, req, strict=True):
            self.assign(gradient, how, 0)


class GuardedProp(mx.operator.CustomOpProp):
    """The properties of a GuardedOp. Subclasses take their attributes as text.

    All of a graph's Custom operators have to ask for the same arrays in their backward pass, so all ask for all: MXNet
    1.9.1 keeps what the last one asked for in one place for all of them, and fails on an array that another did not get.
    """

    def __init__(self):
        super().__init__(need_top_grad=True)


def keep_failure(name: str, error: BaseException) -> None:
    """Remember an operator's exception and say so on stderr, for graphs that nobody asks `raise_failure` about."""
    with _lock:
        _failures.append(error)
    print(f"mxnet_ref: operator {name} failed, its outputs are zeros: {type(error).__name__}: {error}", file=sys.stderr)


def raise_failure() -> None:
    """Raise the first exception that an operator kept since the last call, if any. Call when the graph has finished."""
    with _lock:
        kept = list(_failures)
        _failures.clear()
    if kept:
        raise kept[0]
