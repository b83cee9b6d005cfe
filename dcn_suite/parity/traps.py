"""What each wrong turn costs, measured on whole networks, and the page that says so."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dcn_suite.parity.detections import SHOWN, above
from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.mistakes import MISTAKES, Mistake
from dcn_tasks.anchors import base_anchors
from dcn_tasks.boxes import bbox_overlaps
from dcn_tasks.config import Config
from dcn_tasks.detections import Detections
from torch_port.layers import Crop
from torch_port.models import DeepLab, Detector, Segmenter, TwoStage
from weights_convert import Params, node_map, to_torch

SAME_OBJECT_IOU = 0.9


@dataclass(frozen=True)
class LabelMistake:
    """As Mistake, of DeepLab; its cost is the share of pixels that get another label."""

    id: str
    turn: str
    right: str
    spoil: Callable[[DeepLab], None]


def crop_at_the_corner(network: DeepLab) -> None:
    network.head.crop = Crop(0)


class Resize(nn.Module):
    """Bilinear interpolation to 16 times the size, plus the pixels that the crop takes away."""

    def __init__(self, align_corners: bool):
        super().__init__()
        self.align_corners = align_corners

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        large = F.interpolate(scores, scale_factor=16, mode="bilinear", align_corners=self.align_corners)
        return F.pad(large, (8, 8, 8, 8))


def resize_with_aligned_corners(network: DeepLab) -> None:
    network.head.upsampling = Resize(align_corners=True)


def resize_without_aligned_corners(network: DeepLab) -> None:
    network.head.upsampling = Resize(align_corners=False)


FIXED = "deconvolution 32/16 without padding, cropped from (8, 8)"
LABEL_MISTAKES = (
    LabelMistake("crop-corner", "DeepLab's scores cropped from (0, 0)", FIXED, crop_at_the_corner),
    LabelMistake(
        "align-corners", "DeepLab's scores resized with align_corners=True", FIXED, resize_with_aligned_corners
    ),
    LabelMistake(
        "interpolate",
        "DeepLab's scores resized with align_corners=False",
        f"{FIXED}: the same but near the border, where the scores of all classes fade alike",
        resize_without_aligned_corners,
    ),
)


def detection_costs(cfg: Config, network: TwoStage, params: Params, image: np.ndarray, step: Callable) -> list[dict]:
    """What every mistake of MISTAKES changes: in its node on the right inputs, and in the boxes that are found.

    Args: network: correct, with un-normalised box weights. params: the checkpoint it came from. image: RGB uint8.
    """
    modules = node_map(cfg, False)
    network.eval()
    inputs, outputs, handles = {}, {}, []

    def keep(name: str) -> Callable:
        def hook(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
            inputs[name], outputs[name] = args, output.clone()

        return hook

    for node in {mistake.node for mistake in MISTAKES}:
        handles.append(network.get_submodule(modules[node]).register_forward_hook(keep(node)))
    right = above(Detector(network, cfg)(image)[0], SHOWN)
    for handle in handles:
        handle.remove()
    rows = []
    for mistake in MISTAKES:
        step(mistake.id)
        spoiled = spoiled_copy(network, mistake, params, cfg)
        args = at_halves(inputs[mistake.node]) if mistake.probe else inputs[mistake.node]
        with torch.inference_mode():
            expected = network.get_submodule(modules[mistake.node])(*args) if mistake.probe else outputs[mistake.node]
            got = spoiled.get_submodule(modules[mistake.node])(*args)
        wrong = above(Detector(spoiled, cfg)(image)[0], SHOWN)
        rows.append({"id": mistake.id, "node": mistake.node, **layer_cost(expected, got), **box_cost(right, wrong)})
    return rows


def spoiled_copy(network: TwoStage, mistake: Mistake, params: Params, cfg: Config) -> TwoStage:
    spoiled = copy.deepcopy(network)
    if mistake.normalised:
        spoiled.load_state_dict(to_torch(params, cfg, use_test_weights=False))
    mistake.spoil(spoiled)
    return spoiled


def at_halves(args: tuple) -> tuple:
    """The arguments of a RoI pooling with every corner on .5, where roundings differ."""
    rois = args[1].clone()
    rois[:, 1:] = rois[:, 1:].floor() + 0.5
    return args[0], rois, *args[2:]


def layer_cost(expected: torch.Tensor, got: torch.Tensor) -> dict:
    """Largest error of a node over its scale (max |.|), or the two shapes where they differ; RoIs as sets."""
    if expected.shape != got.shape:
        return {"layer_error": None, "shapes": [list(expected.shape), list(got.shape)]}
    if expected.shape[1:] == (5,):  # RoIs
        matching = match_boxes(expected[:, 1:].numpy(), got[:, 1:].numpy())
        return {"layer_error": None, "other_rois": len(matching.only_b), "rois": len(got)}
    return {"layer_error": float((got - expected).abs().max() / expected.abs().max())}


def box_cost(right: Detections, wrong: Detections) -> dict:
    """found: boxes above 0.05 without the mistake. lost: of them, those without a box of their class at IoU >= 0.9.
    strange: boxes that only the mistake finds. score: largest change of a score that both have."""
    matching = match_boxes(right.boxes, wrong.boxes, labels=(right.classes, wrong.classes), iou=SAME_OBJECT_IOU)
    pairs = matching.pairs
    changes = np.abs(right.scores[pairs[:, 0]] - wrong.scores[pairs[:, 1]])
    return {
        "found": len(right),
        "lost": len(matching.only_a),
        "strange": len(matching.only_b),
        "score": float(changes.max()) if len(changes) else None,
    }


def label_costs(cfg: Config, network: DeepLab, image: np.ndarray, step: Callable) -> list[dict]:
    """The share of pixels that LABEL_MISTAKES label differently, and the largest change of a probability."""
    right = Segmenter(network, cfg)(image)
    rows = []
    for mistake in LABEL_MISTAKES:
        step(mistake.id)
        spoiled = copy.deepcopy(network)
        mistake.spoil(spoiled)
        wrong = Segmenter(spoiled, cfg)(image)
        rows.append(
            {
                "id": mistake.id,
                "other_labels": float((right.labels != wrong.labels).mean()),
                "probability": float(np.abs(right.prob - wrong.prob).max()),
            }
        )
    return rows


def anchor_cost() -> dict:
    """FPN's level of stride 32, ratio 1/2: a height of 22.5 cells of a 32nd is 22 half to even and 23 half up."""
    right = base_anchors(32, (0.5,), (8,))
    width, height = np.floor(np.sqrt(32 * 32 / 0.5) + 0.5), 0.0
    height = np.floor(width * 0.5 + 0.5)
    half = 0.5 * (np.array([width, height]) * 8 - 1)
    wrong = np.concatenate([15.5 - half, 15.5 + half])[None]
    sides = (right[0, 3] - right[0, 1] + 1, wrong[0, 3] - wrong[0, 1] + 1)
    return {
        "id": "anchor-half-up",
        "heights_px": [float(side) for side in sides],
        "iou": float(bbox_overlaps(right, wrong)[0, 0]),
    }


# The page -------------------------------------------------------------------------------------------------------------

HEAD = """# Wrong turns, and what they cost
The turns that a porter of these networks takes most. Each is planted in the port on purpose, and a test sees it: those of Deformable R-FCN
turn their own node red against MXNet's recording (`tests/parity/test_porting_traps.py`; the most treacherous also down to the verdict of
`dcn parity`: `tests/parity/test_planted_mistakes.py`). The figures are what it changes in a whole network with calibrated random weights
on a photograph, everything else being right: `python benchmarks/porting_traps.py` measures them and writes this page from
`benchmarks/results/porting_traps.json`.

- **layer**: the largest error of the first wrong node, fed its right input, over the largest value that it should have;
- **lost, strange**: boxes above 0.05 of the right network that have no box of their class at IoU ≥ 0.9 any more, and new ones;
- **score**: the largest change of a score of those that stay.

The weights are random: how much a trained network would lose is not measured, and no figure here is an mAP. A network's own RoIs never
stand on .5, so half-even rounding shows only with boxes that come from elsewhere (ground truth, another detector).
"""


def render(stored: dict) -> str:
    """docs/porting_traps.md from the stored figures."""
    rows = {row["id"]: row for row in (*stored["detection"], *stored["labels"], stored["anchors"])}
    facts = ", ".join(f"{key} {value}" for key, value in stored["about"].items())
    lines = [HEAD, f"Measured on: {facts}.", "", "## Deformable R-FCN", ""]
    lines += [
        "| turn | right | first wrong node | layer | lost | strange | score |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for mistake in MISTAKES:
        row = rows[mistake.id]
        score = "–" if row["score"] is None else f"{row['score']:.1g}"
        cells = [
            mistake.turn,
            mistake.right,
            f"`{mistake.node}`",
            layer_text(row, mistake),
            f"{row['lost']} of {row['found']}",
        ]
        lines.append(f"| {' | '.join([*cells, str(row['strange']), score])} |")
    lines += [
        "",
        "## DeepLab",
        "",
        "| turn | right | pixels with another label | largest change of a probability |",
        "|---|---|---:|---:|",
    ]
    for each in LABEL_MISTAKES:
        row = rows[each.id]
        lines.append(f"| {each.turn} | {each.right} | {row['other_labels']:.2%} | {row['probability']:.1g} |")
    anchor = rows["anchor-half-up"]
    right, wrong = anchor["heights_px"]
    lines += [
        "",
        "## FPN",
        "",
        f"Anchors rounded half up instead of half to even: at stride 32, ratio 1/2, the anchor is {wrong:.0f} px high instead of "
        f"{right:.0f} (IoU {anchor['iou']:.3f}); the other strides do not show it.",
    ]
    return "\n".join(lines) + "\n"


def layer_text(row: dict, mistake: Mistake) -> str:
    if "shapes" in row:
        right, wrong = ("×".join(str(side) for side in shape[2:]) for shape in row["shapes"])
        return f"{wrong} instead of {right}"
    if "other_rois" in row:
        return f"{row['other_rois']} of {row['rois']} RoIs others"
    return f"{row['layer_error']:.1g}" + (", RoIs at .5" if mistake.probe else "")
