"""The proof for int8 graphs: whole numbers are equal, one by one; the rest is judged as ever, behind MXNet's whole numbers.

MXNet computes operators of whole numbers in float32 alone, so they have no float64 witness. They need none: sums of
products of whole numbers have one value, and PyTorch repeats the few float32 steps behind them. What such a graph computes
in floating point runs in float64 as a graph of its own, which starts from MXNet's dequantized arrays.

Where floating-point numbers become whole ones, two sums in another order may lie on two sides of a half. Such elements take
MXNet's whole number and are counted; farther from a half than HALF_WIDTH, another whole number is red.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from dcn_suite.parity.judge import Claim, Judgement, largest_difference, shapes_differ
from weights_convert.translate.operators.dense import convolution
from weights_convert.translate.operators.fused import told_apart
from weights_convert.translate.operators.quantized import dequantize, quantize_scale, quantize_v2, to_whole

QUANTIZE, DEQUANTIZE = "_contrib_quantize_v2", "_contrib_dequantize"
ROUNDINGS = 2.0**-17  # 64 roundings of float32; the error of a few float32 layers is less
HALF_WIDTH = 127.5 * ROUNDINGS  # of a whole number, the largest taken as the scale
DEVIATIONS = 4.0  # of a made-up layer's results to the end of its range
TRUE = ("true", "True", "1")


def is_whole(node: dict) -> bool:
    """Whether a node of a symbol.json computes with whole numbers of 8 bits, or leads to or from them."""
    if node["op"] == "_sg_mkldnn_conv":
        return (node.get("attrs") or {}).get("quantized") in TRUE
    return node["op"] in (QUANTIZE, DEQUANTIZE) or node["op"].startswith("_contrib_quantized_")


def whole_names(text: str) -> frozenset[str]:
    """Names of a symbol.json's whole-number nodes."""
    return frozenset(node["name"] for node in json.loads(text)["nodes"] if is_whole(node))


def floating_part(text: str) -> tuple[str | None, list[str]]:
    """The graph without its whole-number nodes: dequantized arrays become inputs, every node's first output a head.

    Returns: the text of a symbol.json (None where nothing is left) and the names of the new inputs; ("as it was", []) for a graph
        without whole numbers.
    """
    content = json.loads(text)
    if not any(is_whole(node) for node in content["nodes"]):
        return text, []
    given = [node["name"] for node in content["nodes"] if node["op"] == DEQUANTIZE]
    moved: dict[int, int] = {}
    nodes: list[dict] = []
    for place, node in enumerate(content["nodes"]):
        if is_whole(node) and node["op"] != DEQUANTIZE:
            continue
        moved[place] = len(nodes)
        if node["op"] == DEQUANTIZE:
            nodes.append({"op": "null", "name": node["name"], "inputs": []})
        else:
            nodes.append({**node, "inputs": [[moved[source], *rest] for source, *rest in node["inputs"]]})
    heads = [[place, 0, 0] for place, node in enumerate(nodes) if node["op"] != "null"]
    arguments = [place for place, node in enumerate(nodes) if node["op"] == "null"]
    left = {"nodes": nodes, "arg_nodes": arguments, "heads": heads, "attrs": content.get("attrs", {})}
    return (json.dumps(left, ensure_ascii=False) if heads else None), given


def fill_range(
    arrays: tuple[torch.Tensor, ...], attributes: Mapping, calibrate: Callable[..., None], quiet: float
) -> None:
    """Sets what a whole-number convolution learned, in place, so that its results fill the range that its file states.

    Made-up weights of another size would leave the whole numbers at 0 or at their ends.

    Args: arrays, attributes: of the call. calibrate: sets a BatchNorm's statistics to those of what reaches it. quiet: factor
        of a convolution to whose result something is added.
    """
    data, weight, *rest = arrays
    flags = {key: attributes.get(key, False) for key in ("no_bias", "with_bn", "with_sum")}
    bias, norm, added, ranges = told_apart(tuple(rest), **flags)
    geometry = {key: attributes[key] for key in ("kernel", "num_filter", "stride", "dilate", "pad", "num_group")
                if key in attributes}  # fmt: skip
    real = convolution(dequantize(data, *ranges[:2]), weight, bias, no_bias=bias is None, **geometry)
    reach = max(abs(attributes["min_calib_range"]), abs(attributes["max_calib_range"]))
    size = reach / DEVIATIONS * (quiet if added is not None else 1.0)
    if norm:
        calibrate(real, *norm, axis=1)
    factor = size if norm else size / float(real.std())
    for each in norm[:2] if norm else (weight, bias):
        if each is not None:
            each.mul_(factor)


def judge_whole(theirs: np.ndarray, single: np.ndarray, double: np.ndarray, apart: int = 0) -> Judgement:
    """PyTorch's array is MXNet's, element by element, whether the rest of the module runs in float32 or float64.

    Args: theirs: MXNet's, float32 run. single, double: PyTorch's of both runs. apart: elements taken over from MXNet.
    """
    judgement = Judgement(elements=theirs.size, apart=apart)
    for name, own in (("", single), (", in a float64 module", double)):
        judgement.claims.append(
            shapes_differ({"MXNet": theirs, "PyTorch": own})
            or Claim(f"the same whole numbers{name}", 0.0, largest_difference(theirs, own), 0.0)
        )
    return judgement


def with_their_halves(
    data: torch.Tensor, own: tuple[torch.Tensor, ...], their_data: np.ndarray, theirs: Sequence[np.ndarray], **how
) -> tuple[tuple[torch.Tensor, ...], int]:
    """Results of `quantize_v2` with MXNet's whole numbers where data lies on a half; how many elements were taken over.

    They have to be what the same rule makes of MXNet's own data. A range that is read off the data (in a file without
    calibration) is MXNet's too, where it differs by roundings alone.

    Args: data: what was quantized; own: its whole numbers and their range. their_data, theirs: the same of MXNet. how: attributes.
    """
    again = quantize_v2(torch.from_numpy(np.array(their_data)), **how)
    if again[0].shape != own[0].shape or any(
        not np.array_equal(one.numpy(), other) for one, other in zip(again, theirs, strict=True)
    ):
        return own, 0
    other, *their_ends = again
    whole, *ends = own
    near = [abs(one - each) <= ROUNDINGS * each.abs() for one, each in zip(ends, their_ends, strict=True)]
    low, high = (torch.where(*each).to(data.dtype) for each in zip(near, their_ends, ends, strict=True))
    moved = int((low != ends[0]).sum() + (high != ends[1]).sum())
    scale = quantize_scale(low, high, whole.dtype)
    real = data.double() * scale.double()
    kept = to_whole(data.float() * scale, whole.dtype) if moved else whole
    on_half = (real - real.floor() - 0.5).abs() <= HALF_WIDTH
    taken = on_half & ((kept.int() - other.int()).abs() == 1)
    return (torch.where(taken, other, kept), low, high), moved + int(taken.sum())
