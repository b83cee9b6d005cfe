"""MXNet's side of a parity run, computed here. The only part of parity that needs MXNet."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dcn_suite.parity.photo import boxes_on, labels_on, photo_of
from dcn_suite.parity.reference import DTYPES, Arrays, NodeRun, Reference, head_gradients, pack, place_of, probes
from dcn_suite.parity.segments import Segment, only_in_test, segments_of
from dcn_tasks.batch import training_batch
from dcn_tasks.config import Config, load_config, to_plain
from dcn_tasks.recording import Recording, RecordingWriter
from dcn_tasks.segmentation import segmentation_batch
from dcn_tasks.streams import Draws
from dcn_tasks.task import SEGMENTATION, task_of
from weights_convert import node_map, tensor_paths

Step = Callable[[str], None]


class LiveReference(Reference):
    """A recording made here and now; single nodes run in MXNet when they are asked for."""

    source = "run here"

    def __init__(self, recording: Recording, witnesses: Mapping[str, Mapping[str, object]]):
        super().__init__(recording)
        self.witnesses = witnesses

    def isolated(
        self, kind: str, segment: Segment, inputs: Mapping[str, np.ndarray], *, grad: bool, probe: str = ""
    ) -> dict[str, NodeRun]:
        return run_alone(self.witnesses[kind], segment, inputs, grad=grad, is_train=kind == "train")

    def to_record(self, kind: str, cfg: Config) -> list[Segment]:
        """What a recording keeps node by node: all of one graph, and of the test graph what the training graph lacks."""
        names, tensors = self.parameter_names(), tensor_paths(cfg)
        own, _ = segments_of(self.nodes(kind), node_map(cfg, kind == "train"), tensors)
        if kind == "train" or not self.about["grad"]:
            return own
        return only_in_test(names, segments_of(self.nodes("train"), node_map(cfg, True), tensors)[0], own)


def run_alone(
    witnesses: Mapping[str, object], segment: Segment, inputs: Mapping[str, np.ndarray], *, grad: bool, is_train: bool
):
    """One segment in MXNet in both precisions: NodeRun by dtype."""
    runs, heads = {}, None
    wanted = [*segment.differentiable, *segment.parameters] if grad and segment.differentiable else []
    for dtype in DTYPES:
        if wanted and heads is None:
            shapes, _ = witnesses[dtype].run(segment.nodes, inputs, None, is_train=is_train)
            heads = head_gradients(segment.name, shapes)
        runs[dtype] = NodeRun(*witnesses[dtype].run(segment.nodes, inputs, heads, wanted=wanted, is_train=is_train))
    return runs


def witnesses_of(cfg: Config, parameters: Arrays, kind: str) -> dict[str, object]:
    """MXNet in both precisions, for the test or the training graph.

    Args: parameters: arg:NAME and aux:NAME; `_test` copies take the place of their originals in the test graph.
    """
    os.environ.setdefault("MXNET_SUBGRAPH_BACKEND", "NONE")
    import mxnet_ref
    from mxnet_ref.witness import Witness

    arg = {key.removeprefix("arg:"): value for key, value in parameters.items() if key.startswith("arg:")}
    aux = {key.removeprefix("aux:"): value for key, value in parameters.items() if key.startswith("aux:")}
    copies = {name.removesuffix("_test"): arg.pop(name) for name in list(arg) if name.endswith("_test")}
    if kind == "test":
        arg |= copies
    return {
        dtype: Witness(mxnet_ref.build_symbol(cfg, kind == "train", dtype=dtype), arg, aux, dtype) for dtype in DTYPES
    }


def record(
    cfg: Config,
    folder: Path,
    *,
    name: str,
    size: tuple[int, int],
    grad: bool,
    seed: int,
    isolated: bool,
    parameters: Arrays | None = None,
    step: Step = lambda text: None,
) -> LiveReference:
    """Runs MXNet from end to end, and with `isolated` node by node, and writes it all down.

    Args:
        folder: of the recording. name: of the configuration. size: of the photo in the network, pixels.
        grad: record the training graph with gradients too. seed: of weights, boxes and draws.
        isolated: False leaves single nodes to be run when they are asked for.
        parameters: arg:NAME, aux:NAME of a checkpoint; None: calibrated random ones.
        step: told what is being done.
    """
    import mxnet_ref
    from mxnet_ref.operators import set_draws

    cfg = load_config(cfg, SCALES=[min(size), max(size)])
    photo = photo_of(*size)
    draws = Draws(seed)
    set_draws(draws)
    calibrating = parameters is None
    if calibrating:
        step("weights with sane statistics")
        parameters = calibrated(cfg, photo, seed)
    kinds = ["train", "test"] if grad else ["test"]
    witnesses = {kind: witnesses_of(cfg, parameters, kind) for kind in kinds}
    about = {
        "name": name,
        "config": to_plain(cfg),
        "seed": seed,
        "calibrated": calibrating,
        "size": list(size),
        "isolated": isolated,
        "grad": grad,
        "test_inputs": list(task_of(cfg).inputs(photo, cfg)),
        "versions": mxnet_ref.versions(),
        "graphs": {kind: [asdict(node) for node in witnesses[kind]["float32"].nodes.values()] for kind in kinds},
    }
    writer = RecordingWriter(folder, f"MXNet {about['versions']['mxnet']}", about)
    bundles = Bundles(writer, compress=isolated)
    bundles["photo"] = photo
    bundles.group("parameters", parameters)
    for kind in kinds:
        inputs = inputs_of(cfg, photo, seed, draws, kind)
        bundles.group(f"{kind}/inputs", inputs)
        for dtype, witness in witnesses[kind].items():
            step(f"MXNet {dtype}, {kind} graph from end to end")
            record_chain(bundles, witness, inputs, kind, dtype)
    bundles.finish()
    if isolated:
        live = LiveReference(Recording(folder), witnesses)
        for kind in kinds:
            record_isolated(bundles, live, live.to_record(kind, cfg), kind, step)
        bundles.finish()
    return LiveReference(Recording(folder), witnesses)


class Bundles:
    """Gathers arrays into parts of a recording of at most 64 MiB (or one array each where that is larger).

    An array of the test graph that the training graph gave bit for bit is left out.
    """

    limit = 64 << 20

    def __init__(self, writer: RecordingWriter, *, compress: bool):
        self.writer, self.compress = writer, compress
        self.waiting: Arrays = {}
        self.bytes_waiting = 0
        self.digests: dict[str, bytes] = {}

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array)
        kind, _, rest = name.partition("/")
        digest = digest_of(array)
        if kind == "train":
            self.digests[rest] = digest
        elif kind == "test" and self.digests.get(rest) == digest:
            return
        self.waiting[name] = array
        self.bytes_waiting += array.nbytes
        if self.bytes_waiting >= self.limit:
            self.flush()

    def group(self, prefix: str, arrays: Mapping[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            self[f"{prefix}/{name}"] = array

    def flush(self) -> None:
        if self.waiting:
            self.writer.part(f"part-{len(self.writer.manifest['files']):04d}", self.waiting, compress=self.compress)
            self.waiting, self.bytes_waiting = {}, 0

    def finish(self) -> None:
        self.flush()
        self.writer.finish()


def calibrated(cfg: Config, photo: np.ndarray, seed: int) -> Arrays:
    """Random weights that make a fair test, as arg:NAME and aux:NAME with the `_test` copies."""
    import mxnet_ref

    arg, aux = mxnet_ref.calibrated_init(cfg, photo, seed)
    arg = mxnet_ref.with_test_copies(arg, cfg)
    arrays = {f"arg:{name}": value for name, value in arg.items()} | {
        f"aux:{name}": value for name, value in aux.items()
    }
    return {name: np.asarray(value, np.float32) for name, value in arrays.items()}


def inputs_of(cfg: Config, photo: np.ndarray, seed: int, draws: Draws, kind: str) -> Arrays:
    """What a graph is fed; the whole photo, whatever the training crops."""
    task, size = task_of(cfg), photo.shape[:2]
    if kind == "test":
        batch = task.inputs(photo, cfg)
    elif task is SEGMENTATION:
        whole = load_config(cfg, TRAIN__ENABLE_CROP=False)
        batch = segmentation_batch(photo, labels_on(*size, cfg.dataset.NUM_CLASSES, seed), whole, draws)
    else:
        batch = training_batch(photo, boxes_on(*size, cfg.dataset.NUM_CLASSES, seed), cfg, draws)
    return {name: np.asarray(array, np.float32) for name, array in batch.items()}


def record_chain(bundles: Bundles, witness, inputs: Arrays, kind: str, dtype: str) -> None:
    """One precision from end to end: every entry, and every gradient of the training graph."""

    def sink(key: str, array: np.ndarray) -> None:
        bundles[f"{kind}/{dtype}/{key}"] = array

    is_train = kind == "train"
    gradients = witness.chain(inputs, is_train=is_train, grad=is_train, sink=sink)
    bundles.group(f"{kind}/{dtype}/gradient", gradients)


def record_isolated(bundles: Bundles, live: LiveReference, segments: Sequence[Segment], kind: str, step: Step) -> None:
    """Segments alone, in both precisions; gradients in the training graph."""
    for segment in segments:
        step(f"MXNet, {segment.name} alone")
        recorded = {key: live.entry(kind, "float32", key) for key in segment.inputs}
        for probe, inputs in probes(segment, recorded).items():
            runs = live.isolated(kind, segment, inputs, grad=kind == "train")
            if not probe:  # fed the chained inputs, a node gives its chained outputs: not twice
                entries = [live.entry(kind, "float32", key) for key in segment.outputs]
                same = all(map(np.array_equal, runs["float32"].outputs, entries))
                runs["float32"] = NodeRun([] if same else runs["float32"].outputs, runs["float32"].gradients)
            bundles.group(place_of(kind, segment, probe), pack(runs))


def digest_of(array: np.ndarray) -> bytes:
    """Of dtype, shape and bits."""
    digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8))
    return digest.digest()
