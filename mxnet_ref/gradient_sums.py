"""Several images an update: their gradients are summed by MXNet's kvstore, as the original sums those of its devices."""

from collections.abc import Mapping, Sequence

import mxnet as mx

Named = Mapping[str, mx.nd.NDArray]
ON_ONE_MACHINE = ("local", "device")


class GradientSums:
    """Sums by name.

    Args: kind: default.kvstore. "local" and "device" both add on the CPU where the gradients are there.
    """

    def __init__(self, kind: str):
        self.store = mx.kv.create(kind if kind in ON_ONE_MACHINE else ON_ONE_MACHINE[0])
        self.known: set[str] = set()

    def put(self, per_image: Sequence[Named], into: Named) -> None:
        """Writes into every array of `into` the sum of the arrays of its name, one per image."""
        for name, target in into.items():
            if name not in self.known:
                self.store.init(name, mx.nd.zeros_like(target))
                self.known.add(name)
            self.store.push(name, [each[name] for each in per_image])
            self.store.pull(name, out=target)


def copied(arrays: Named) -> dict[str, mx.nd.NDArray]:
    return {name: array.copy() for name, array in arrays.items()}


def put_back(arrays: Named, values: Named) -> None:
    for name, array in arrays.items():
        array[:] = values[name]


def put_mean(arrays: Named, per_image: Sequence[Named]) -> None:
    """Every array becomes the mean over the images of those of its name."""
    for name, array in arrays.items():
        array[:] = mx.nd.add_n(*(each[name] for each in per_image)) / len(per_image)
