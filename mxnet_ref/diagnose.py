"""Where a number that is not finite came from, in a training graph."""

from collections.abc import Mapping
from contextlib import suppress

import mxnet as mx
import numpy as np

from dcn_tasks.streams import Draws
from mxnet_ref.operators import set_draws
from mxnet_ref.witness import Witness


def first_nonfinite(
    symbol: mx.sym.Symbol,
    arg: Mapping[str, np.ndarray],
    aux: Mapping[str, np.ndarray],
    batch: Mapping[str, np.ndarray],
    draws: Draws,
) -> str | None:
    """Runs the graph forward once more, on copies of its arrays, and names the first thing in it that is not finite.

    Returns: a phrase that names a parameter, or the output of a node in order of execution; None when all is finite.
    """
    for name, value in {**arg, **aux}.items():
        if not np.isfinite(value).all():
            return f"the first parameter that is not finite is {name}"
    found: list[str] = []

    def watch(key: str, array: np.ndarray) -> None:
        if not found and key not in batch and not np.isfinite(array).all():
            found.append(key)

    set_draws(draws)
    with suppress(ValueError):  # operators refuse what is not finite, after its source was seen
        Witness(symbol, arg, aux, "float32").chain(batch, is_train=True, grad=False, sink=watch)
    return f"the output of {found[0]} is the first that is not finite" if found else None
