"""Every node alone: PyTorch's module is fed what MXNet fed its node, and all that comes out is compared."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcn_suite.parity.judge import judge
from dcn_suite.parity.kinks import kink_masks
from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.port import Port
from dcn_suite.parity.reference import Reference, head_gradients, probes
from dcn_suite.parity.rows import Row, counted_row, failed_row, judged_row
from dcn_suite.parity.segments import Segment

CHECK = "isolated"


def isolated_rows(
    reference: Reference, ports: dict[str, Port], segments: Sequence[Segment], *, kind: str, grad: bool
) -> Iterator[list[Row]]:
    """One list of rows per segment, in the graph's order.

    Args:
        reference: MXNet's side. ports: PyTorch's, by dtype. kind: graph, "train" or "test".
        grad: compare gradients too.
    """
    for segment in segments:
        recorded = {key: reference.entry(kind, "float32", key) for key in segment.inputs}
        rows: list[Row] = []
        for probe, inputs in probes(segment, recorded).items():
            theirs = reference.isolated(kind, segment, inputs, grad=grad, probe=probe)
            heads = head_gradients(segment.name, theirs["float32"].outputs) if grad else None
            try:
                ours = {dtype: port.run(segment, inputs, heads) for dtype, port in ports.items()}
                rows += segment_rows(segment, inputs, theirs, ours, probe)
            except (RuntimeError, ValueError) as error:
                rows.append(failed_row(CHECK, segment.name, str(error), depth=segment.depth, operator=segment.op))
        yield rows


def segment_rows(segment: Segment, inputs: dict, theirs: dict, ours: dict, probe: str = "") -> Iterable[Row]:
    """The rows of one segment from the four witnesses' results."""
    place = {"depth": segment.depth, "operator": segment.op}
    if segment.op == "Custom" and segment.attrs["op_type"] == "proposal":
        yield from proposal_rows(segment, theirs, ours, place)
        return
    masks = kink_masks(segment, inputs)
    suffix = f", {probe}" if probe else ""
    for index in range(len(segment.outputs)):
        name = "output" if len(segment.outputs) == 1 else f"output {index}"
        four = Four(*(side[index] for dtype in theirs for side in (theirs[dtype].outputs, ours[dtype][0])))
        yield four.row(segment, name + suffix, masks.get("output"), place)
    for key, gradient in theirs["float32"].gradients.items():
        four = Four(gradient, ours["float32"][1][key], theirs["float64"].gradients[key], ours["float64"][1][key])
        yield four.row(segment, f"d {key}{suffix}", masks.get(key), place)


@dataclass
class Four:
    """One quantity of the four witnesses; the module's shape is turned into the node's."""

    mxnet32: np.ndarray
    torch32: np.ndarray
    mxnet64: np.ndarray
    torch64: np.ndarray

    def row(self, segment: Segment, quantity: str, apart: np.ndarray | None, place: dict) -> Row:
        torch32, torch64 = (as_shape(each, self.mxnet64.shape) for each in (self.torch32, self.torch64))
        judgement = judge(self.mxnet32, self.mxnet64, torch32, torch64, apart=apart)
        return judged_row(CHECK, segment.name, quantity, judgement, **place)


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
        four = Four(rows["float32"], mine["float32"], rows["float64"], mine["float64"])
        yield four.row(segment, "coordinates", None, place)
