"""One call of one operator."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Case:
    """attrs: as a symbol.json spells them. inputs: shapes (numbers N(0, 1)), (shape, low, high) for uniform ones, or arrays
    (whole numbers stay, all else becomes float32).

    only32: MXNet has no float64 of this operator, or computes it in float32 there. inner: the graph of a fused operator.
    aux: places of inputs that MXNet keeps as auxiliary states, where their names do not say so.
    """

    inputs: tuple
    attrs: dict[str, str] = field(default_factory=dict)
    only32: bool = False
    inner: dict | None = None
    aux: tuple[int, ...] = ()

    def arrays(self) -> list[np.ndarray]:
        rng = np.random.default_rng(7)
        return [self.drawn(each, rng) for each in self.inputs]

    @staticmethod
    def drawn(given, rng: np.random.Generator) -> np.ndarray:
        if isinstance(given, np.ndarray):
            return given if given.dtype.kind in "iu" else given.astype(np.float32)
        if given and isinstance(given[0], tuple):
            shape, low, high = given
            return rng.uniform(low, high, shape).astype(np.float32)
        return rng.standard_normal(given).astype(np.float32)


def case(*inputs, only32: bool = False, inner: dict | None = None, aux: tuple[int, ...] = (), **attrs: object) -> Case:
    return Case(inputs, {key: str(value) for key, value in attrs.items()}, only32, inner, aux)


def whole(*values) -> np.ndarray:
    return np.array(values, np.int32)


def numbers(*values) -> np.ndarray:
    return np.array(values, np.float32)
