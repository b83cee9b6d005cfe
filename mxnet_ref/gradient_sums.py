"""Several images an update: MXNet's kvstore sums their gradients, as the original sums those of its devices, in one process
or over several."""

from collections.abc import Mapping, Sequence

import mxnet as mx

from dcn_tasks.errors import InputError
from mxnet_ref.processes import ALONE, Processes

Named = Mapping[str, mx.nd.NDArray]
ON_ONE_MACHINE = ("local", "device")
SHARED = ("dist_sync", "dist_device_sync", "dist_sync_device")


class GradientSums:
    """Sums by name.

    Args:
        kind: default.kvstore. "local" and "device" both add on the CPU where the gradients are there; among several
            processes all of these are dist_sync, as one image a device is with both.
        processes: that share every update.
    Raises: InputError as check_kind.
    """

    def __init__(self, kind: str, processes: Processes = ALONE):
        check_kind(kind, processes)
        self.processes = processes
        self.store = mx.kv.create(kind) if processes.store is None else processes.store
        self.known: set[str] = set()

    def put(self, per_image: Sequence[Named], into: Named) -> None:
        """Writes into every array of `into` the sum of the arrays of its name: one per image, in every process."""
        new = [name for name in into if name not in self.known]
        if new:
            self.store.init(new, [mx.nd.zeros_like(into[name]) for name in new])
            self.known.update(new)
        for name, target in into.items():
            self.store.push(name, [each[name] for each in per_image])
            self.store.pull(name, out=target)

    def put_mean(self, per_image: Sequence[Named], into: Named) -> None:
        """Writes into every array of `into` the mean over all images of all processes; each has as many."""
        for name, array in into.items():
            array[:] = mx.nd.add_n(*(each[name] for each in per_image)) / len(per_image)
        if self.processes.size > 1:
            self.put([copied(into)], into)
            for array in into.values():
                array /= self.processes.size


def check_kind(kind: str, processes: Processes) -> None:
    """Raises: InputError for a kvstore of another kind, and for one of several processes in a process alone."""
    if kind not in ON_ONE_MACHINE + SHARED:
        raise InputError(
            f"default.kvstore: expected one of {', '.join(ON_ONE_MACHINE + SHARED)}, got {kind!r}: the others leave "
            "the order of updates to chance, and end elsewhere in every run"
        )
    if kind in SHARED and processes.store is None:
        raise InputError(
            f"default.kvstore: {kind} is for several processes, and this one is alone: start it with "
            "python -m mxnet_ref.launch --workers N -m dcn_suite.cli.main train ..., or say local"
        )


def copied(arrays: Named) -> dict[str, mx.nd.NDArray]:
    return {name: array.copy() for name, array in arrays.items()}


def put_back(arrays: Named, values: Named) -> None:
    for name, array in arrays.items():
        array[:] = values[name]
