"""What MXNet's run decided, in the form that torch_port.models.replay takes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from dcn_suite.parity.kinks import DEFORMABLE_CONVOLUTIONS, exact_offset, numbers
from dcn_suite.parity.pyramid_pool import PyramidPool
from dcn_suite.parity.segments import Segment
from torch_port.layers import RoIPool

SAMPLES = ("rois", "labels", "bbox_targets", "bbox_weights")
HARD = ("labels", "bbox_weights")
READERS = 2  # threads: one waits for the disk while the other compares
Load = Callable[[str], np.ndarray]
Decisions = dict[str, np.ndarray]


def decisions_of(segments: Sequence[Segment], load: Load, *, offsets: str = "offset") -> Decisions:
    """Every decision of a recorded run, by name.

    Args:
        load: entry key -> recorded array of that run; called by READERS threads.
        offsets: "offset" replays every offset, "cells" only those that lead into another bilinear cell.
    """
    decisions: Decisions = {}
    with ThreadPoolExecutor(READERS) as readers:
        for found in readers.map(partial(decided_by, load=load, offsets=offsets), segments):
            decisions |= found
    return decisions


def decided_by(segment: Segment, load: Load, offsets: str) -> Decisions:
    """The decisions of one node; nothing where it makes none."""
    path = segment.module
    if segment.op == "Activation" and segment.attrs["act_type"] == "relu":
        return {path: load(segment.outputs[0]) > 0}
    if segment.op == "Pooling" and segment.attrs.get("pool_type", "max") == "max":
        return {path: taken_pixels(load(segment.inputs[0]), segment)}
    if segment.op == "ROIPooling":
        return {path: taken_cells(*(load(key) for key in segment.inputs), segment)}
    if segment.op in DEFORMABLE_CONVOLUTIONS:
        return {f"{path}:{offsets}": load(segment.inputs[1])}
    if segment.op == "_contrib_DeformablePSROIPooling" and len(segment.inputs) == 3:
        return {f"{path}:{offsets}": load(segment.inputs[2])}
    if segment.kind == "fpn_roi_pooling":
        return pyramid_decisions(segment, load, offsets)
    # which anchors a class-aware RPN hands out no later layer sees
    if not segment.selects or segment.kind == "anchor_candidates":
        return {}
    parts = {"proposal_target": SAMPLES, "BoxAnnotatorOHEM": HARD}.get(segment.kind)
    if parts is None:
        return {path: load(segment.outputs[0])}
    return {f"{path}:{part}": load(key) for part, key in zip(parts, segment.outputs, strict=False)}


def for_float64(decisions: Decisions, segments: Sequence[Segment]) -> Decisions:
    """Decisions of a float32 run, for a float64 network: offsets of deformable convolutions are adjusted.

    So float64 arithmetic lands on the very positions, and in the very cells, of the float32 run.
    """
    names = {f"{segment.module}:offset": segment for segment in segments if segment.op in DEFORMABLE_CONVOLUTIONS}
    return decisions | {name: exact_offset(segment, decisions[name]) for name, segment in names.items()}


def pyramid_decisions(segment: Segment, load: Load, offsets: str) -> Decisions:
    """Of fpn_roi_pooling, level by level: the offsets of its parts, or the cells it takes."""
    pool, rois = PyramidPool.of(segment), load(segment.inputs[-1])
    found: Decisions = {}
    for index, rows in pool.rows(rois).items():
        path = f"{segment.module}.p{2 + index}.pool"
        if pool.deformable:
            found[f"{path}:{offsets}"] = load(segment.outputs[1])[rows]
        else:
            found[path] = taken_cells(load(segment.inputs[index]), rois[rows], pool.at_level(segment, index))
    return found


def taken_cells(data: np.ndarray, rois: np.ndarray, segment: Segment) -> np.ndarray:
    """[R, C, P, P] index in H*W of the cell that RoI max pooling takes in this precision, -1 in a bin without cells.

    By this project's operator, which tests/ops holds bit for bit to MXNet's.
    """
    side, _ = numbers(segment.attrs["pooled_size"])
    pool = RoIPool(spatial_scale=float(segment.attrs["spatial_scale"]), pooled_size=side)
    return pool.taken(torch.as_tensor(data), torch.as_tensor(rois)).numpy()


def taken_pixels(data: np.ndarray, segment: Segment) -> np.ndarray:
    """[N, C, OH, OW] index in H*W of the pixel that max pooling takes; the first of equal ones, as both frameworks do."""
    kernel, stride, pad = (
        int(segment.attrs.get(name, "(0, 0)").strip("()").split(",")[0]) for name in ("kernel", "stride", "pad")
    )
    full = segment.attrs.get("pooling_convention") == "full"
    _, taken = F.max_pool2d(torch.as_tensor(data), kernel, stride, pad, ceil_mode=full, return_indices=True)
    return taken.numpy()
