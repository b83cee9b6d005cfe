"""MXNet's side of a parity run, on disk: what it was fed, what it computed, end to end and node by node.

A recording (dcn_tasks.recording) has these arrays; KIND is "test" or "train", DTYPE "float32" or "float64":

    parameters/arg:NAME, parameters/aux:NAME    float32, with the `_test` copies
    photo                                       RGB uint8
    KIND/inputs/NAME                            what the graph was fed
    KIND/DTYPE/KEY                              every output of every node, in the run from end to end
    KIND/DTYPE/gradient/NAME                    of every parameter (train)
    KIND/isolated/NODE[~PROBE]/DTYPE/...        one node alone: output/INDEX, gradient/KEY

An array that the training graph already gave is left out of the test graph's, and a lone node's float32 output that equals
the chained one is left out too: most are bit for bit the same.

A live reference runs MXNet for the last kind whenever it is asked: a full network's would fill the disk.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dcn_suite.parity.scratch import LiveRecording
from dcn_suite.parity.segments import Node, Segment
from dcn_tasks.errors import InputError
from dcn_tasks.json_values import has
from dcn_tasks.recording import Recording

Arrays = dict[str, np.ndarray]
DTYPES = ("float32", "float64")
PERIOD = 1_048_583  # a prime: repeated, it falls on other places of every channel and row
TEST_INPUTS = ("data", "im_info")  # where a recording does not say
SIDES = range(32, 4097)  # of a photo in the network, pixels
PHOTO_SIDES = range(4, 1025)  # of the photo itself (photo.py), pixels
FACTS = {  # of what a recording is about
    "name": str, "config": dict, "seed": int, "size": list, "isolated": bool, "grad": bool, "versions": dict, "graphs": dict
}  # fmt: skip
OPTIONAL_FACTS = {"calibrated": bool, "float64": bool, "test_inputs": list}
NODE_FACTS = {"name": str, "op": str, "attrs": dict, "inputs": list, "outputs": list}


@dataclass
class NodeRun:
    """One node alone in one precision: its outputs, and gradients by entry key and parameter name."""

    outputs: list[np.ndarray]
    gradients: Arrays


def head_gradients(name: str, outputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """N(0, 1) of the outputs' shapes, float32, from a stream seeded by the node's name."""
    return normals(name, tuple(output.shape for output in outputs))


@lru_cache(maxsize=8)
def normals(name: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[np.ndarray, ...]:
    """The last ones are kept: three witnesses of a node ask for the same, and they are some nodes apart.

    A large map repeats PERIOD of them: drawing takes longer than many a node.
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    generator = np.random.Generator(np.random.Philox(seed))
    drawn = [generator.standard_normal(min(math.prod(shape), PERIOD), dtype=np.float32) for shape in shapes]
    return tuple(np.resize(each, shape) for each, shape in zip(drawn, shapes, strict=True))


ROI_POOLS = ("_contrib_DeformablePSROIPooling", "_contrib_PSROIPooling", "ROIPooling")


def probes(segment: Segment, inputs: Arrays) -> dict[str, Arrays]:
    """What a segment is fed when it runs alone: the recorded inputs (""), and corner cases that they hardly ever hold.

    RoI poolings round RoIs to whole pixels, ROIPooling to whole cells: a network's RoIs never stand on .5, where conventions
    part.
    """
    cases = {"": inputs}
    if segment.op in ROI_POOLS:
        rois = inputs[segment.inputs[1]].copy()
        unit = 1 / float(segment.attrs["spatial_scale"]) if segment.op == "ROIPooling" else 1.0
        rois[:, 1:] = (np.floor(rois[:, 1:] / unit) + 0.5) * unit
        cases["RoIs at .5"] = inputs | {segment.inputs[1]: rois}
    return cases


def fault_of(about: Mapping) -> str:
    """What is missing or of another kind in what a recording is about; "" where nothing is."""
    kinds = FACTS | {name: kind for name, kind in OPTIONAL_FACTS.items() if name in about}
    for name, kind in kinds.items():
        if type(about.get(name)) is not kind:
            return f"`{name}` is {'missing' if name not in about else f'no {kind.__name__}'}"
    size = about["size"]
    if len(size) != 2 or any(type(side) is not int or side not in SIDES for side in size):
        return f"`size` is not the height and width of a photo, {SIDES.start} to {SIDES.stop - 1} pixels"
    if about["config"].get("SCALES") != [[min(size), max(size)]]:
        return "`config` has no SCALES, or those of another `size`"
    if about["seed"] < 0:
        return "`seed` is below 0"
    if not texts(about["versions"].values()) or not texts(about.get("test_inputs", [])):
        return "`versions` or `test_inputs` are no texts"
    for kind, nodes in about["graphs"].items():
        if type(nodes) is not list or not nodes or not all(is_node(node) for node in nodes):
            return f"`graphs` has no nodes for {kind}, or some that are none"
    return ""


def is_node(node: object) -> bool:
    return has(node, NODE_FACTS) and texts((*node["attrs"].values(), *node["inputs"], *node["outputs"]))


def texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


class Reference:
    """Reads a recording. Raises: InputError for one of another kind, and where it lacks what is asked for."""

    source = "read from a recording"

    def __init__(self, recording: Recording | LiveRecording):
        self.recording = recording
        if fault := fault_of(recording.about):
            raise InputError(
                f"{recording.folder}: expected a recording made by `dcn parity --record`, got another kind: {fault}"
            )

    @property
    def about(self) -> dict:
        return self.recording.about

    @property
    def has_float64(self) -> bool:
        """Whether the float64 run from end to end is there, or its final outputs alone."""
        return self.about.get("float64", True)

    def nodes(self, kind: str) -> list[Node]:
        graphs = self.about["graphs"]
        if kind not in graphs:
            raise InputError(
                f"{self.recording.folder}: has the graphs {', '.join(graphs)}; {kind} is wanted: record it again with --grad"
            )
        return [
            Node(node["name"], node["op"], node["attrs"], tuple(node["inputs"]), tuple(node["outputs"]))
            for node in graphs[kind]
        ]

    def group(self, prefix: str) -> Arrays:
        """Every array whose name starts with `prefix`/, without it."""
        start = f"{prefix}/"
        return {name.removeprefix(start): self.recording[name] for name in self.recording if name.startswith(start)}

    def parameters(self) -> Arrays:
        """arg:NAME and aux:NAME."""
        found = self.group("parameters")
        if foreign := [name for name in found if not name.startswith(("arg:", "aux:"))]:
            raise InputError(
                f"{self.recording.folder}: expected parameters arg:NAME and aux:NAME, got {foreign[0]!r}: record again"
            )
        return found

    def parameter_names(self) -> set[str]:
        return {name.partition(":")[2] for name in self.recording if name.startswith("parameters/")}

    @property
    def photo(self) -> np.ndarray:
        photo = self.first("photo")
        if photo.dtype != np.uint8 or photo.shape[2:] != (3,) or not set(photo.shape[:2]) <= set(PHOTO_SIDES):
            raise InputError(
                f"{self.recording.folder}: expected a photo of uint8 [H, W, 3], {PHOTO_SIDES.start} to {PHOTO_SIDES.stop - 1} "
                f"pixels a side, got {photo.dtype} {list(photo.shape)}: record again"
            )
        return photo

    def inputs(self, kind: str) -> Arrays:
        if kind == "train":
            return self.group("train/inputs")
        names = self.about.get("test_inputs", TEST_INPUTS)
        return {name: self.first("test/inputs/" + name, "train/inputs/" + name) for name in names}

    def first(self, *names: str) -> np.ndarray:
        """The first of these arrays that was recorded."""
        for name in names:
            if name in self.recording:
                return self.recording[name]
        raise InputError(f"{self.recording.folder}: {names[0]} was not recorded: record again")

    def entry(self, kind: str, dtype: str, key: str) -> np.ndarray:
        """One entry of the run from end to end, or an input of the graph."""
        kinds = dict.fromkeys((kind, "train"))
        return self.first(*(f"{each}/{dtype}/{key}" for each in kinds), *(f"{each}/inputs/{key}" for each in kinds))

    def gradient(self, kind: str, dtype: str, name: str) -> np.ndarray:
        """Of one parameter, in the run from end to end."""
        return self.first(f"{kind}/{dtype}/gradient/{name}")

    def isolated(
        self, kind: str, segment: Segment, inputs: Mapping[str, np.ndarray], *, grad: bool, probe: str = ""
    ) -> dict[str, NodeRun]:
        """The segment alone on `inputs`, by dtype. grad: with gradients, as far as they are there. probe: which of `probes`."""
        runs = {}
        for dtype in DTYPES:
            prefix = f"{place_of(kind, segment, probe)}/{dtype}"
            outputs = []
            for index, key in enumerate(segment.outputs):
                chained = (
                    [f"{each}/float32/{key}" for each in (kind, "train")] if dtype == "float32" and not probe else []
                )
                outputs.append(self.first(f"{prefix}/output/{index}", *chained))
            runs[dtype] = NodeRun(outputs, self.group(f"{prefix}/gradient") if grad else {})
        return runs


def place_of(kind: str, segment: Segment, probe: str) -> str:
    """Where a recording keeps a segment's runs."""
    return f"{kind}/isolated/{segment.name}" + (f"~{probe}" if probe else "")


def pack(runs: Mapping[str, NodeRun]) -> Arrays:
    """A segment's runs as named arrays; the inverse is Reference.isolated."""
    arrays: Arrays = {}
    for dtype, run in runs.items():
        arrays |= {f"{dtype}/output/{index}": output for index, output in enumerate(run.outputs)}
        arrays |= {f"{dtype}/gradient/{name}": gradient for name, gradient in run.gradients.items()}
    return arrays
