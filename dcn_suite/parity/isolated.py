"""Every node alone: PyTorch's module is fed what MXNet fed its node, and all that comes out is compared."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from dcn_suite.parity.decisions import decisions_of
from dcn_suite.parity.judge import Judgement, judge, largest, largest_difference
from dcn_suite.parity.kinks import kink_masks
from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.overlap import ahead
from dcn_suite.parity.port import Port
from dcn_suite.parity.pyramid_pool import PyramidPool, pyramid_masks
from dcn_suite.parity.reference import DTYPES, Arrays, NodeRun, Reference, head_gradients, probes
from dcn_suite.parity.rows import Row, counted_row, failed_row, judged_row
from dcn_suite.parity.segments import WITHOUT_CPU_BACKWARD, Segment
from torch_port.models import replaying

CHECK = "isolated"
OneRun = tuple[list[np.ndarray], dict[str, np.ndarray]]  # outputs, gradients by key
STOCK = (
    "Convolution",
    "Deconvolution",
    "FullyConnected",
)  # library calls on both sides; kernels of our own are held to the error of each quantity


def isolated_rows(
    reference: Reference, ports: dict[str, Port], segments: Sequence[Segment], *, kind: str, grad: bool
) -> Iterator[list[Row]]:
    """One list of rows per segment, in the graph's order.

    Args:
        reference: MXNet's side. ports: PyTorch's, by dtype. kind: graph, "train" or "test".
        grad: compare gradients too.
    """

    def fed(segment: Segment) -> tuple[Segment, Arrays]:
        """What it reads, from disk; and the head gradients that three witnesses will ask for are drawn."""
        if grad:
            head_gradients(segment.name, [reference.entry(kind, "float32", key) for key in segment.outputs])
        return segment, {key: reference.entry(kind, "float32", key) for key in segment.inputs}

    def witnessed(what: tuple[Segment, Arrays]) -> tuple[Segment, list[Case]]:
        """Each probe with its inputs and MXNet's runs."""
        segment, recorded = what
        return segment, [
            Case(probe, inputs, reference.isolated(kind, segment, inputs, grad=grad, probe=probe))
            for probe, inputs in probes(segment, recorded).items()
        ]

    def ported(what: tuple[Segment, list[Case]]) -> tuple[Segment, list[Case]]:
        """The same with PyTorch's runs."""
        segment, cases = what
        for case in cases:
            try:
                case.compute(ports, segment, grad)
            except (RuntimeError, ValueError) as error:
                case.failure = str(error)
        return what

    known: dict[tuple[str, ...], float] = {}
    for segment, cases in ahead(ported, ahead(witnessed, ahead(fed, segments))):
        rows: list[Row] = []
        with_gradients = None if grad else partial(reference.isolated, kind, segment, grad=True)
        for case in cases:
            if case.failure is None:
                try:
                    rows += segment_rows(segment, case, known, with_gradients)
                except (RuntimeError, ValueError) as error:
                    case.failure = str(error)
            if case.failure is not None:
                rows.append(failed_row(CHECK, segment.name, case.failure, depth=segment.depth, operator=segment.op))
        yield rows


@dataclass
class Case:
    """One segment on one input, in both frameworks and both precisions.

    probe: name of the input. theirs: MXNet's runs, ours: PyTorch's, by dtype. truth: float64 for the float32 runs; None: MXNet's.
    failure: why they cannot be compared.
    """

    probe: str
    inputs: Arrays
    theirs: dict[str, NodeRun]
    ours: dict[str, OneRun] = field(default_factory=dict)
    truth: OneRun | None = None
    failure: str | None = None

    def compute(self, ports: dict[str, Port], segment: Segment, grad: bool) -> None:
        """PyTorch's side. Raises: RuntimeError, ValueError where its module does not run on these inputs."""
        heads = head_gradients(segment.name, self.theirs["float32"].outputs) if grad else None
        for dtype, port in ports.items():
            self.ours[dtype] = run_alone(port, segment, self.inputs, heads, self.theirs[dtype])
        if finds_offsets(segment):
            self.truth = run_alone(ports["float64"], segment, self.inputs, heads, self.theirs["float32"])


def finds_offsets(segment: Segment) -> bool:
    """Whether it is the deformable pooling of a pyramid, which finds the offsets of its bins itself, by a fully connected layer.

    They are an output, and judged; its samples then stand at MXNet's, since a rounding of them may lead into another bilinear
    cell, with another gradient. The float32 runs are measured by PyTorch's float64 with MXNet's float32 offsets: with those of
    its own it would be another function near a kink.
    """
    return segment.kind == "fpn_roi_pooling" and PyramidPool.of(segment).deformable


def run_alone(
    port: Port, segment: Segment, inputs: dict, heads: Sequence[np.ndarray] | None, theirs: NodeRun
) -> OneRun:
    """PyTorch's outputs and gradients of one segment. Args: theirs: whose offsets are taken, where it finds them itself."""
    decisions: dict[str, np.ndarray] = {}
    if finds_offsets(segment):
        known = {**inputs, **dict(zip(segment.outputs, theirs.outputs, strict=True))}
        decisions = decisions_of([segment], known.__getitem__)
    with replaying(port.network, decisions):
        return port.run(segment, inputs, heads)


def segment_rows(
    segment: Segment,
    case: Case,
    known: dict[tuple[str, ...], float],
    with_gradients: Callable[[dict], dict[str, NodeRun]] | None = None,
) -> Iterable[Row]:
    """The rows of one segment from the four witnesses' results.

    Args:
        known: MXNet's largest error of every stock layer so far, by its parameters' names: nodes that share them, as the levels
            of a pyramid do, are one layer. This segment's is added.
        with_gradients: where gradients are not compared, MXNet's runs with them: a layer's error (judge.py) is of these too,
            whatever is compared.
    """
    inputs, theirs, ours, truth = case.inputs, case.theirs, case.ours, case.truth
    place = {"depth": segment.depth, "operator": segment.op}
    if segment.kind in ("proposal", "pyramid_proposal"):
        yield from proposal_rows(segment, theirs, ours, place)
        return
    pyramid = segment.kind == "fpn_roi_pooling"
    masks = pyramid_masks(segment, inputs, theirs["float32"].outputs) if pyramid else kink_masks(segment, inputs)
    four: dict[str, tuple] = {}
    for index in range(len(segment.outputs)):
        name = "output" if len(segment.outputs) == 1 else f"output {index}"
        arrays = [side[index] for dtype in DTYPES for side in (theirs[dtype].outputs, ours[dtype][0])]
        four[name] = (*arrays, masks.get("output"), truth and truth[0][index])
    for key in theirs["float32"].gradients:
        arrays = [side[key] for dtype in DTYPES for side in (theirs[dtype].gradients, ours[dtype][1])]
        four[f"d {key}"] = (*arrays, masks.get(key), truth and truth[1][key])
    judgements = {name: judge_shaped(*arrays) for name, arrays in four.items()}
    layer = max(each.relative_error_mxnet for each in judgements.values())
    if segment.op in STOCK:
        if with_gradients and not all(each.holds for each in judgements.values()):
            layer = max(layer, largest_error(with_gradients(inputs)))
        layer = known[segment.parameters] = max(layer, known.get(segment.parameters, 0.0))
    suffix = f", {case.probe}" if case.probe else ""
    for name, judgement in judgements.items():
        if segment.op in STOCK:
            judgement.ask_layer(layer)
        row = judged_row(CHECK, segment.name, name + suffix, judgement, **place)
        loop = segment.op == WITHOUT_CPU_BACKWARD and name.startswith("d ")
        yield replace(row, claim=f"{row.claim} (MXNet has no CPU backward: a loop instead)") if loop else row


def largest_error(runs: dict[str, NodeRun]) -> float:
    """MXNet's float32 error of outputs and gradients of one node, over the scale of each."""
    single, double = (runs[dtype] for dtype in DTYPES)
    pairs = [*zip(single.outputs, double.outputs, strict=True)]
    pairs += [(single.gradients[key], double.gradients[key]) for key in double.gradients]
    scales = [largest(truth) for _, truth in pairs]
    return max(largest_difference(*pair) / scale for pair, scale in zip(pairs, scales, strict=True) if scale)


def judge_shaped(
    mxnet32, torch32, mxnet64, torch64, apart: np.ndarray | None = None, truth: np.ndarray | None = None
) -> Judgement:
    """The judgement of one quantity; the module's shape is turned into the node's."""
    torch32, torch64 = (as_shape(each, mxnet64.shape) for each in (torch32, torch64))
    truth = None if truth is None else as_shape(truth, mxnet64.shape)
    return judge(mxnet32, mxnet64, torch32, torch64, apart=apart, truth=truth)


def as_shape(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in the other framework's shape: [R, C] is MXNet's [R, C, 1, 1], [1, 2A, H, W] its [1, 2, A*H, W].

    Elements keep their order, so a shape that is wrong otherwise shows in the values. Other sizes are left to the judge.
    """
    return array.reshape(shape) if array.size == int(np.prod(shape)) else array


def proposal_rows(segment: Segment, theirs: dict, ours: dict, place: dict) -> Iterable[Row]:
    """RoIs as sets: both frameworks keep the same boxes from the same scores; then coordinates row by row."""
    for dtype in ("float32", "float64"):
        mxnet, torch = theirs[dtype].outputs[0], ours[dtype][0][0]
        matching = match_boxes(mxnet[:, 1:], torch[:, 1:])
        yield counted_row(
            CHECK,
            segment.name,
            f"RoIs, {dtype}",
            "RoIs that only one framework keeps (IoU >= 0.999)",
            matching.unmatched,
            **place,
        )
    pairs = match_boxes(theirs["float64"].outputs[0][:, 1:], ours["float64"][0][0][:, 1:]).pairs
    if len(pairs) and all(len(each) == len(theirs["float64"].outputs[0]) for each in (ours["float32"][0][0], pairs)):
        mine = {dtype: ours[dtype][0][0][pairs[:, 1]] for dtype in ours}
        rows = {dtype: theirs[dtype].outputs[0][pairs[:, 0]] for dtype in theirs}
        judgement = judge_shaped(rows["float32"], mine["float32"], rows["float64"], mine["float64"])
        yield judged_row(CHECK, segment.name, "coordinates", judgement, **place)
