"""The whole network, end to end, PyTorch taking MXNet's decisions.

Two comparisons, one per claim (judge.py). Decisions of a run are ReLU masks, pooled pixels, RoIs, samples, hard RoIs and
bilinear cells.

    function   PyTorch float64 with the decisions of MXNet's float64 run is that run, in all activations and gradients;
    rounding   PyTorch float64 with the decisions of MXNet's float32 run is the truth for both float32 runs, PyTorch's with
               the same decisions. MXNet has no replay; that the truth is its function too is the first claim.

Of a photo too large for MXNet's float64 activations (Reference.has_float64), the second alone: that the truth is MXNet's
function too is then the claim of every node alone.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dcn_suite.parity.decisions import Decisions, decisions_of, for_float64
from dcn_suite.parity.isolated import as_shape
from dcn_suite.parity.judge import Judgement, judge_function, judge_rounding
from dcn_suite.parity.memory import give_back
from dcn_suite.parity.overlap import Later, ahead
from dcn_suite.parity.port import Port
from dcn_suite.parity.reference import DTYPES, ROI_POOLS, Arrays, Reference
from dcn_suite.parity.rows import Row, judged_row, reported_row
from dcn_suite.parity.scratch import Scratch
from dcn_suite.parity.segments import SELECTORS, WITHOUT_CPU_BACKWARD, Segment

CHECK = "chained"
KINDS = {
    "Activation": "ReLU masks",
    "Pooling": "pooled pixels",
    "ROIPooling": "pooled pixels of RoIs",
    **dict.fromkeys(SELECTORS, "RoIs, samples and hard RoIs"),
    "fpn_roi_pooling": "pixels and sampling cells of a pyramid's RoIs",
    "_contrib_DeformableConvolution": "sampling cells of deformable convolutions",
    "_contrib_ModulatedDeformableConvolution": "sampling cells of deformable convolutions",
    "_contrib_DeformablePSROIPooling": "sampling cells of deformable RoI poolings",
}
OWN_KERNELS = (*ROI_POOLS, "_contrib_DeformableConvolution", "_contrib_ModulatedDeformableConvolution", "ROIPooling")
MakePort = Callable[[str], Port]


def chained_rows(
    reference: Reference,
    make_port: MakePort,
    segments: Sequence[Segment],
    *,
    kind: str,
    grad: bool,
    scratch: Path,
    step: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Rows of every activation, and with `grad` of every parameter's gradient, in the graph's order.

    Args: scratch: folder for PyTorch's float32 activations. step: told what is being done.
    """
    compared = [segment for segment in segments if not segment.selects]  # the others are decisions, replayed
    outputs = {key: segment for segment in compared for key in segment.outputs}
    parameters = {name: segment for segment in compared for name in segment.parameters} if grad else {}
    judgements = {key: Judgement() for key in [*outputs, *parameters]}
    inputs = reference.inputs(kind)
    room = False  # whether float64 has been here: what it leaves is enough for those after it

    def decided(source: str) -> Decisions:
        return decisions_of(segments, lambda key: reference.entry(kind, source, key))

    def run(dtype: str, decisions: Decisions, sink: Callable):
        nonlocal room
        if not room:
            give_back()
        room = room or dtype == "float64"
        with Later() as later:
            return make_port(dtype).chain(inputs, segments, decisions=decisions, grad=grad, sink=later(sink))

    def function(key: str, array: np.ndarray) -> None:
        if key in outputs:
            theirs = reference.entry(kind, "float64", key)
            judge_function(judgements[key], theirs, as_shape(array, theirs.shape))

    def judge_gradients(ours: Arrays) -> None:
        for name in parameters:
            theirs = reference.gradient(kind, "float64", name)
            judge_function(judgements[name], theirs, as_shape(ours[name], theirs.shape))

    decisions = ahead(decided, DTYPES[::-1] if reference.has_float64 else DTYPES[:1])
    if reference.has_float64:
        step("PyTorch float64 with MXNet's float64 decisions")
        judge_gradients(run("float64", next(decisions), function)[0])

    step("PyTorch float32 with MXNet's float32 decisions")
    single = Scratch(scratch)
    taken = next(decisions)
    gradients32, report = run("float32", taken, single.__setitem__)

    def rounding(key: str, array: np.ndarray) -> None:
        if key in outputs:
            theirs = reference.entry(kind, "float32", key)
            judge_rounding(judgements[key], theirs, as_shape(single[key], theirs.shape), as_shape(array, theirs.shape))

    step("PyTorch float64 with MXNet's float32 decisions")
    truth, _ = run("float64", for_float64(taken, segments), rounding)
    single.clear()
    for name in parameters:
        judge_rounding(judgements[name], reference.gradient(kind, "float32", name), gradients32[name], truth[name])
    for group in (outputs, parameters):
        layer = max((judgements[name].relative_error_mxnet for name in group), default=0.0)
        for name, segment in group.items():
            if segment.op not in OWN_KERNELS:
                judgements[name].ask_layer(layer)
    rows = [row_of(key, segment, "output", judgements[key]) for key, segment in outputs.items()]
    rows += [row_of(name, segment, f"d {name}", judgements[name]) for name, segment in parameters.items()]
    rows.sort(key=lambda row: row.depth)
    return rows + decision_rows(segments, report) + (loop_rows(segments) if grad else [])


def row_of(key: str, segment: Segment, quantity: str, judgement: Judgement) -> Row:
    return judged_row(CHECK, segment.name, quantity, judgement, depth=segment.depth, operator=segment.op)


def loop_rows(segments: Sequence[Segment]) -> list[Row]:
    """Says through which nodes MXNet's gradients from end to end pass by a loop."""
    loops = [segment.name for segment in segments if segment.op == WITHOUT_CPU_BACKWARD]
    claim = "nodes whose gradient is a loop in MXNet's run too: MXNet has no CPU backward"
    return [reported_row(CHECK, ", ".join(loops), "gradients", claim, 0, len(loops))] if loops else []


def decision_rows(segments: Sequence[Segment], report) -> list[Row]:
    """How often PyTorch's float32 run would have decided otherwise than MXNet's, given the same past."""
    kinds = {segment.module: KINDS.get(segment.kind) for segment in segments}
    counts: dict[str, list[int]] = {}
    for name, differing, total in report.rows():
        path = name.partition(":")[0]
        while path and path not in kinds:  # a part of a module that is one node in MXNet
            path = path.rpartition(".")[0]
        count = counts.setdefault(kinds.get(path) or name, [0, 0])
        count[0] += differing
        count[1] += total
    return [
        reported_row(
            CHECK, kind, "decisions", f"of {total} replayed decisions, PyTorch alone would differ in", 0, differing
        )
        for kind, (differing, total) in counts.items()
    ]
