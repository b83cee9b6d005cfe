"""MXNet's side of a parity run, on disk: what it was fed, what it computed, end to end and node by node.

A recording is a folder of the dcn_tasks.recording kind. Its groups of arrays:

    parameters              arg:NAME, aux:NAME, with the `_test` copies, float32
    photo                   image, RGB uint8
    KIND/inputs             the graph's inputs; KIND is "test" or "train"
    KIND/DTYPE/NAME         outputs of one node of the run from end to end
    KIND/DTYPE/gradients    of every parameter (train)
    KIND/isolated/NAME      one node alone: outputs and gradients in both precisions

A live reference runs MXNet for the last group whenever it is asked, because a full network's does not fit on a disk.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dcn_suite.parity.segments import Node, Segment
from dcn_tasks.errors import InputError
from dcn_tasks.recording import Recording

Arrays = dict[str, np.ndarray]
DTYPES = ("float32", "float64")


@dataclass
class NodeRun:
    """One node alone in one precision: its outputs, and gradients by entry key and parameter name."""

    outputs: list[np.ndarray]
    gradients: Arrays


def head_gradients(name: str, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """N(0, 1) of the outputs' shapes, float32, from a stream seeded by the node's name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    generator = np.random.Generator(np.random.Philox(seed))
    return [generator.standard_normal(output.shape, dtype=np.float32) for output in outputs]


class Reference:
    """Reads a recording. Raises: InputError where the recording lacks what is asked for."""

    def __init__(self, recording: Recording):
        self.recording = recording
        self.meta = recording.manifest["meta"]
        self.load = lru_cache(maxsize=4)(self._load)

    def _load(self, group: str) -> Arrays:
        return self.recording.load(group)

    def nodes(self, kind: str) -> list[Node]:
        if kind not in self.meta["graphs"]:
            raise InputError(
                f"parity: the recording has the graphs {', '.join(self.meta['graphs'])}, {kind} is wanted: record it with --grad"
            )
        return [
            Node(node["name"], node["op"], node["attrs"], tuple(node["inputs"]), tuple(node["outputs"]))
            for node in self.meta["graphs"][kind]
        ]

    def parameters(self) -> Arrays:
        """arg:NAME and aux:NAME."""
        return self.load("parameters")

    def parameter_names(self) -> list[str]:
        return [key.partition(":")[2] for key in self.parameters()]

    @property
    def photo(self) -> np.ndarray:
        return self.load("photo")["image"]

    def inputs(self, kind: str) -> Arrays:
        return self.load(f"{kind}/inputs")

    def entry(self, kind: str, dtype: str, key: str) -> np.ndarray:
        """One entry of the run from end to end; inputs of the graph are float32."""
        inputs = self.inputs(kind)
        if key in inputs:
            return inputs[key]
        return self.load(f"{kind}/{dtype}/{key.partition(':')[0]}")[key]

    def gradients(self, kind: str, dtype: str) -> Arrays:
        return self.load(f"{kind}/{dtype}/gradients")

    def isolated(self, kind: str, segment: Segment, inputs: Mapping[str, np.ndarray], *, grad: bool) -> dict[str, NodeRun]:
        """The segment alone on `inputs`, by dtype."""
        arrays = self.load(f"{kind}/isolated/{segment.name}")
        runs = {}
        for dtype in DTYPES:
            outputs = [arrays[f"{dtype}/output/{index}"] for index in range(len(segment.outputs))]
            start = f"{dtype}/gradient/"
            gradients = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
            runs[dtype] = NodeRun(outputs, gradients if grad else {})
        return runs


def pack(runs: Mapping[str, NodeRun]) -> Arrays:
    """A segment's runs as one group of arrays; the inverse is Reference.isolated."""
    arrays: Arrays = {}
    for dtype, run in runs.items():
        arrays |= {f"{dtype}/output/{index}": output for index, output in enumerate(run.outputs)}
        arrays |= {f"{dtype}/gradient/{name}": gradient for name, gradient in run.gradients.items()}
    return arrays
