"""MXNet's side of a parity run, computed here. The only part of parity that needs MXNet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock

import numpy as np

from dcn_suite.parity.memory import give_back
from dcn_suite.parity.overlap import Later
from dcn_suite.parity.photo import boxes_on, labels_on, photo_of
from dcn_suite.parity.reference import DTYPES, Arrays, NodeRun, Reference, head_gradients, pack, place_of, probes
from dcn_suite.parity.scratch import LiveRecording
from dcn_suite.parity.segments import Segment, only_in_test, segments_of
from dcn_tasks.batch import training_batch
from dcn_tasks.config import Config, load_config, to_plain
from dcn_tasks.recording import RecordingWriter
from dcn_tasks.segmentation import segmentation_batch
from dcn_tasks.streams import Draws
from dcn_tasks.task import SEGMENTATION, task_of
from weights_convert import node_map, tensor_paths

Step = Callable[[str], None]
PART_BYTES = 64 << 20


class LiveReference(Reference):
    """A recording made here and now; single nodes run in MXNet when they are asked for."""

    source = "run here"

    def __init__(self, recording: LiveRecording, witnesses: Mapping[str, Mapping[str, object]]):
        super().__init__(recording)
        self.witnesses = witnesses
        self.at_work = Lock()  # one node at a time, whichever thread asks for it

    def isolated(
        self, kind: str, segment: Segment, inputs: Mapping[str, np.ndarray], *, grad: bool, probe: str = ""
    ) -> dict[str, NodeRun]:
        with self.at_work:
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
    runs = {}
    wanted = [*segment.differentiable, *segment.parameters] if grad and segment.differentiable else []

    def heads(outputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return head_gradients(segment.name, outputs)

    for dtype in DTYPES:
        run = witnesses[dtype].run(segment.nodes, inputs, heads if wanted else None, wanted=wanted, is_train=is_train)
        runs[dtype] = NodeRun(*run)
    return runs


def witnesses_of(cfg: Config, parameters: Arrays, kind: str) -> dict[str, object]:
    """MXNet in both precisions, for the test or the training graph.

    Args: parameters: arg:NAME and aux:NAME; `_test` copies take the place of their originals in the test graph.
    """
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
    scratch: Path,
    *,
    name: str,
    size: tuple[int, int],
    grad: bool,
    seed: int,
    float64: bool = True,
    keep_at: Path | None = None,
    parameters: Arrays | None = None,
    step: Step = lambda text: None,
) -> LiveReference:
    """Runs MXNet from end to end and writes it all down.

    Args:
        scratch: folder for what is written. name: of the configuration. size: of the photo in the network, pixels.
        grad: record the training graph with gradients too. seed: of weights, boxes and draws.
        float64: False keeps of the float64 runs what the last node reads and gives alone: a large photo's would fill the disk.
        keep_at: folder of a recording that lasts, with every node alone; None leaves single nodes to be run when they
            are asked for.
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
        "isolated": keep_at is not None,
        "grad": grad,
        "float64": float64,
        "test_inputs": list(task_of(cfg).inputs(photo, cfg)),
        "versions": mxnet_ref.versions(),
        "graphs": {kind: [asdict(node) for node in witnesses[kind]["float32"].nodes.values()] for kind in kinds},
    }
    recording = LiveRecording(scratch, f"MXNet {about['versions']['mxnet']}", about)
    recording["photo"] = photo
    recording.group("parameters", parameters)
    for kind in kinds:
        inputs = inputs_of(cfg, photo, seed, draws, kind)
        recording.group(f"{kind}/inputs", inputs)
        for dtype, witness in witnesses[kind].items():
            step(f"MXNet {dtype}, {kind} graph from end to end")
            record_chain(recording, witness, inputs, kind, dtype, whole=float64 or dtype == "float32")
    live = LiveReference(recording, witnesses)
    if keep_at is not None:
        for kind in kinds:
            record_isolated(recording, live, live.to_record(kind, cfg), kind, step)
        keep(recording, keep_at)
    return live


def keep(live: LiveRecording, folder: Path) -> None:
    """Writes a recording that lasts, in parts of at most 64 MiB (or one array each where that is larger)."""
    writer = RecordingWriter(folder, live.recorded_by, live.about)
    part: Arrays = {}

    def flush() -> None:
        if part:
            writer.part(f"part-{len(writer.manifest['files']):04d}", part, compress=True)
            part.clear()

    for name in live:
        part[name] = live[name]
        if sum(array.nbytes for array in part.values()) >= PART_BYTES:
            flush()
    flush()
    writer.finish()


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


def record_chain(
    recording: LiveRecording, witness, inputs: Arrays, kind: str, dtype: str, *, whole: bool = True
) -> None:
    """One precision from end to end: every entry, and every gradient of the training graph.

    Args: whole: False writes down what the last node reads and gives alone.
    """
    *_, last = witness.nodes.values()

    def sink(key: str, array: np.ndarray) -> None:
        if whole or key in (*last.inputs, *last.outputs):
            recording[f"{kind}/{dtype}/{key}"] = array

    is_train = kind == "train"
    give_back()
    with Later() as later:
        gradients = witness.chain(inputs, is_train=is_train, grad=is_train, sink=later(sink))
    recording.group(f"{kind}/{dtype}/gradient", gradients)


def record_isolated(
    recording: LiveRecording, live: LiveReference, segments: Sequence[Segment], kind: str, step: Step
) -> None:
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
            recording.group(place_of(kind, segment, probe), pack(runs))
