"""Random parameters under which a network behaves like a trained one, so that comparing its numbers proves something.

With plain random weights and the identity as normalisation, activations reach 1e7 and every probability is 0 or 1.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import mxnet as mx
import numpy as np

from dcn_tasks.config import Config, load_config
from dcn_tasks.images import to_network_input
from dcn_tasks.initial import normal
from dcn_tasks.network import NetworkSpec
from dcn_tasks.proposals import Proposals, propose_from_pyramid
from dcn_tasks.pyramid import levels_of, size_in_levels
from dcn_tasks.segmentation import label_map
from dcn_tasks.streams import Draws
from mxnet_ref.build import build_symbol
from mxnet_ref.checkpoint import detection_weights, with_test_copies
from mxnet_ref.detect import Detector
from mxnet_ref.executor import Arrays, outputs_of
from mxnet_ref.heads.fpn import LEVELS as POOLED_LEVELS
from mxnet_ref.heads.layout import LAYOUTS
from mxnet_ref.init import init_params
from mxnet_ref.neck import Pyramid

LOGIT_STD = 2.0  # class scores of the RPN and of the RoIs
DELTA_STD = 0.2  # box regression of the RPN
BOX_STD = 0.5  # normalised box regression of the RoIs
OFFSET_STD_PX = 1.5  # offsets of deformable convolutions, feature pixels
PART_OFFSET_STD = 1.0  # offsets of RoI parts, before trans_std = 0.1: a tenth of the RoI
BACKGROUND_LEAD = 5.0  # of anchors, over each object class: e**5 is about 20 objects' e**(std**2 / 2)
FULL_WIDTH = 64  # BASE_WIDTH from which enough detections are expected
BRANCH_SCALE = (0.05, 0.15)  # of a residual branch beside its shortcut: larger ones amplify rounding from unit to unit
SPREADS = 1 + np.arange(-16, 17) / 1024  # of the RPN's outputs that are tried, over the wanted one
LEVELS = Pyramid._fields  # of a pyramid
CLEAR_GAP = 3 * 2.0**-24  # between two scores below 1: a rounding apart is a tie


def calibrated_init(
    config: str | Path | Config, image: np.ndarray, seed: int = 0, *, min_detections: int | None = None
) -> tuple[Arrays, Arrays]:
    """Random parameters with sane statistics on a photograph.

    Normalisations get the statistics of their own input, class logits std 2, offsets std 1.5 feature pixels. Residual
    branches stay small beside their shortcuts and RoI sides away from half pixels, where pooling rounds: so that a rounding
    stays one, and two implementations that each decide alone find the same boxes.

    Args:
        image: RGB uint8 [H, W, 3].
        min_detections: above 0.05, over 5 classes (or all, where there are fewer); None: 50, and 5 for networks narrower
            than the original's, where also 2 classes do.
    Returns: (arg, aux), float32; box weights normalised, as training leaves them.
    Raises: RuntimeError when the network detects less, or when two of its proposals have the same score; for DeepLab when
        hardly a class wins.
    """
    cfg = load_config(config)
    arg, aux = init_params(cfg, seed=seed, pretrained=False)
    randomise(arg, seed)
    data, im_info = to_network_input(image, cfg)
    inputs = {"data": data, "im_info": im_info}
    calibrate_backbone(cfg, arg, aux, inputs)
    family = NetworkSpec.from_config(cfg).family
    if family == "deeplab":
        calibrate_label_scores(cfg, arg, aux, inputs)
        return arg, aux
    one_stage = family == "class_aware_rpn"
    (calibrate_anchor_scores if one_stage else calibrate_heads)(cfg, arg, aux, inputs)
    full = cfg.network.BASE_WIDTH >= FULL_WIDTH
    min_classes = min(5, cfg.dataset.NUM_CLASSES - 1) if full else 2
    check_detections(
        cfg, arg, aux, image, (50 if full else 5) if min_detections is None else min_detections, min_classes
    )
    if not one_stage:
        check_proposals(cfg, arg, aux, inputs)
    return arg, aux


def randomise(arg: Arrays, seed: int) -> None:
    """Scales and shifts away from ones and zeros, offset weights away from zeros, in place."""
    for name, value in arg.items():
        if name.endswith("_gamma"):
            low, high = BRANCH_SCALE if name.endswith(("branch2c_gamma", "merge_gamma")) else (0.7, 1.3)
            value[:] = Draws(seed).generator(f"calibrate/{name}").uniform(low, high, value.shape)
        elif name.endswith("_beta"):
            value[:] = 0.1 * normal(name, value.shape, seed)
        elif name.endswith("_weight") and not value.any():
            value[:] = 0.01 * normal(name, value.shape, seed)


def calibrate_backbone(cfg: Config, arg: Arrays, aux: Arrays, inputs: Arrays) -> None:
    """Offsets to their std and normalisations to the statistics of their input, in place.

    With batch statistics every layer sees normalised input already, so that one pass gives the statistics of all.
    """
    spec = NetworkSpec.from_config(cfg)
    symbol = build_symbol(cfg, False, network__USE_GLOBAL_STATS=False)
    for name in spec.deformable_convolutions:  # one by one: the offsets of one move the input of the next
        scale_outputs(symbol, {f"{name}_offset": OFFSET_STD_PX}, arg, aux, inputs, is_train=True)
    nodes = json.loads(symbol.tojson())["nodes"]
    norms = {node["name"]: nodes[node["inputs"][0][0]]["name"] for node in nodes if node["op"] == "BatchNorm"}
    found = outputs_of(symbol, list(norms.values()), arg, aux, inputs, is_train=True)
    for norm, source in norms.items():
        value = found[source].astype(np.float64)
        aux[f"{norm}_moving_mean"][:] = value.mean(axis=(0, 2, 3))
        aux[f"{norm}_moving_var"][:] = value.var(axis=(0, 2, 3)) + 1e-3  # a channel that is dead here stays bounded


def calibrate_heads(cfg: Config, arg: Arrays, aux: Arrays, inputs: Arrays) -> None:
    """Scores, deltas and part offsets to sane spreads, in place, from the features on."""
    symbol, spec = build_symbol(cfg, False), NetworkSpec.from_config(cfg)
    pyramid = spec.family == "fpn"
    if pyramid:
        scale_outputs(symbol, {f"fpn_{level}_1x1": 1.0 for level in POOLED_LEVELS}, arg, aux, inputs)
        scale_outputs(symbol, {f"fpn_{level}": 1.0 for level in LEVELS}, arg, aux, inputs)
    else:
        scale_outputs(symbol, {"conv_new_1": 1.0}, arg, aux, inputs)
    conv = "rpn_conv" if pyramid else "rpn_conv_3x3"
    for layer, std in {conv: 1.0, "rpn_cls_score": LOGIT_STD, "rpn_bbox_pred": DELTA_STD}.items():
        scale_shared(symbol, [f"{layer}{level}" for level in rpn_levels(spec)], layer, std, arg, aux, inputs)
    settle_proposals(cfg, arg, aux, inputs)
    layout = LAYOUTS[spec.family]
    if spec.deform_roi_pooling and pyramid:
        scale_part_offsets(symbol, spec, arg, aux, inputs)
    elif spec.deform_roi_pooling:
        layers = dict(layout.part_offsets)
        if spec.modulated_roi_pooling:
            for layer in ("fc_deform_1", "fc_deform_2"):
                spread(symbol, layer, 1.0, arg, aux, inputs)
            layers = {"fc_deform_3": "fc_deform_3"}
        scale_outputs(symbol, dict.fromkeys(layers, PART_OFFSET_STD), arg, aux, inputs, layers=layers)
    for layer in layout.hidden:
        spread(symbol, layer, 1.0, arg, aux, inputs)
    scale_outputs(symbol, {layout.boxes_node: BOX_STD}, arg, aux, inputs, layers={layout.boxes_node: layout.boxes})
    spread(symbol, layout.scores, LOGIT_STD, arg, aux, inputs, node=layout.scores_node)


def spread(
    symbol: mx.sym.Symbol, layer: str, std: float, arg: Arrays, aux: Arrays, inputs: Arrays, *, node: str | None = None
) -> None:
    """Outputs of a layer to mean 0 each, so that none is everywhere the largest, and `std` over RoIs and outputs, in place.

    Args: node: where they are read; None: the layer itself. One output may have several biases, one per bin.
    """
    values = outputs_of(symbol, [node or layer], arg, aux, inputs)[node or layer]
    values = values.reshape(-1, values.shape[-1])
    mean = values.mean(axis=0)
    factor = std / (values - mean).std()
    arg[f"{layer}_weight"] *= np.float32(factor)
    of_bins = arg[f"{layer}_bias"].reshape(len(mean), -1)  # [outputs, bins], a view
    of_bins[:] = factor * (of_bins - mean[:, None])


def calibrate_anchor_scores(cfg: Config, arg: Arrays, aux: Arrays, inputs: Arrays) -> None:
    """A class-aware RPN's logits around 0, background ahead so that most anchors are none, and its deltas, in place."""
    spec, symbol = NetworkSpec.from_config(cfg), build_symbol(cfg, False)
    for layer in ("conv_new_1", "rpn_conv_3x3")[: 2 if spec.rpn_width else 1]:
        scale_outputs(symbol, {layer: 1.0}, arg, aux, inputs)
    scale_outputs(symbol, {"rpn_cls_score": LOGIT_STD, "rpn_bbox_pred": DELTA_STD}, arg, aux, inputs)
    scores = outputs_of(symbol, ["rpn_cls_score"], arg, aux, inputs)["rpn_cls_score"]
    mean = scores.mean(axis=(0, 2, 3))
    factor = LOGIT_STD / (scores - mean[:, None, None]).std()
    arg["rpn_cls_score_weight"] *= np.float32(factor)
    arg["rpn_cls_score_bias"][:] = factor * (arg["rpn_cls_score_bias"] - mean)
    arg["rpn_cls_score_bias"][: spec.num_anchors] += np.float32(BACKGROUND_LEAD)


def calibrate_label_scores(cfg: Config, arg: Arrays, aux: Arrays, inputs: Arrays) -> None:
    """DeepLab's class scores to a sane spread around 0, in place.

    Raises: RuntimeError when fewer than 3 classes (or 2 of 2) win somewhere on the photograph.
    """
    symbol = build_symbol(cfg, False)
    scale_outputs(symbol, {"fc6": 1.0}, arg, aux, inputs)
    scale_outputs(symbol, {"score": LOGIT_STD}, arg, aux, inputs)
    arg["score_bias"] -= outputs_of(symbol, ["score"], arg, aux, inputs)["score"].mean(axis=(0, 2, 3))
    scores = outputs_of(symbol, ["croped_score"], arg, aux, inputs)["croped_score"]
    winning = len(np.unique(label_map(scores)))
    if winning < min(3, scores.shape[1]):
        raise RuntimeError(f"calibrated_init: {winning} class wins on this image: choose another seed or image")


def scale_shared(
    symbol: mx.sym.Symbol, names: Sequence[str], layer: str, std: float, arg: Arrays, aux: Arrays, inputs: Arrays
) -> None:
    """Scale the one weight behind several outputs so that all of them together get the wanted std, in place."""
    found = outputs_of(symbol, names, arg, aux, inputs)
    arg[f"{layer}_weight"] *= np.float32(std / np.concatenate([value.ravel() for value in found.values()]).std())


def scale_part_offsets(symbol: mx.sym.Symbol, spec: NetworkSpec, arg: Arrays, aux: Arrays, inputs: Arrays) -> None:
    """Part offsets of every level of a pyramid by its own RoIs, of a level without RoIs like all others together, in place."""
    rois, offsets = outputs_of(symbol, ["rois", "fpn_roi_pooling_offset"], arg, aux, inputs).values()
    level_of_roi = levels_of(rois, len(POOLED_LEVELS), spec.level_side)
    for index, level in enumerate(POOLED_LEVELS):
        own = offsets[level_of_roi == index]
        arg[f"offset_{level}_weight"] *= np.float32(PART_OFFSET_STD / (own if len(own) else offsets).std())


def scale_outputs(
    symbol: mx.sym.Symbol,
    wanted: Mapping[str, float],
    arg: Arrays,
    aux: Arrays,
    inputs: Arrays,
    *,
    layers: Mapping[str, str] | None = None,
    is_train: bool = False,
) -> None:
    """Scale weights so that the named outputs get the wanted std, in place.

    Args: layers: the layer whose weight is scaled, by output; None: the outputs' own.
    """
    found = outputs_of(symbol, list(wanted), arg, aux, inputs, is_train=is_train)
    for name, std in wanted.items():
        arg[f"{(layers or {}).get(name, name)}_weight"] *= np.float32(std / found[name].std())


def check_detections(
    cfg: Config, arg: Arrays, aux: Arrays, image: np.ndarray, min_detections: int, min_classes: int
) -> None:
    """Raises: RuntimeError unless the network detects enough."""
    found = Detector(cfg, detection_weights(with_test_copies(arg, cfg)), aux)(image)[0].above(0.05)
    classes = len(np.unique(found.classes))
    if len(found) < min_detections or classes < min_classes:
        raise RuntimeError(
            f"calibrated_init: expected {min_detections} detections above 0.05 over {min_classes} classes, "
            f"got {len(found)} over {classes}: choose another seed or image"
        )


def rpn_levels(spec: NetworkSpec) -> list[str]:
    """What the RPN's node names end in, level by level."""
    return [f"_{level}" for level in LEVELS] if spec.family == "fpn" else [""]


def settle_proposals(cfg: Config, arg: Arrays, aux: Arrays, inputs: Arrays) -> None:
    """Scales the RPN's outputs by up to 2 %, to where no proposals tie and RoI sides are farthest from being rounded otherwise."""
    spec = NetworkSpec.from_config(cfg)
    levels = rpn_levels(spec)
    names = [f"{layer}{level}" for layer in ("rpn_cls_score", "rpn_bbox_pred") for level in levels]
    found = list(outputs_of(build_symbol(cfg, False), names, arg, aux, inputs).values())
    pairs = [np.split(logits[0].astype(np.float64), 2) for logits in found[: len(levels)]]
    deltas = [each[0] for each in found[len(levels) :]]
    margins = {}
    for spread in SPREADS:
        scores = [(1 / (1 + np.exp(spread * (back - front)))).astype(np.float32) for back, front in pairs]
        kept = proposals(cfg, scores, [spread * each for each in deltas], inputs["im_info"][0])
        gap = np.diff(np.sort(kept.scores[: kept.num_valid, 0])).min(initial=1)
        margins[spread] = (min(gap, CLEAR_GAP), rounding_distance(spec, kept.rois))
    spread = max(margins, key=margins.__getitem__)
    for name in ("rpn_cls_score_weight", "rpn_bbox_pred_weight"):
        arg[name] *= np.float32(spread)


def rounding_distance(spec: NetworkSpec, rois: np.ndarray) -> float:
    """How far the sides of RoIs [R, 5] are at least from where the head's pooling takes others, in image pixels.

    ROIPooling rounds cells of the map, the others image pixels; a pyramid's RoIs may also fall into another level.
    """
    strides, distance = np.asarray(spec.feature_strides), np.inf
    level = np.zeros(len(rois), np.intp)
    if spec.family == "fpn":
        level = levels_of(rois, len(POOLED_LEVELS), spec.level_side)
        size = size_in_levels(rois, spec.level_side)
        distance = float(np.abs(size - np.round(size)).min()) * spec.level_side
    rounds_cells = spec.family in ("rcnn", "fpn") and not spec.deform_roi_pooling
    unit = strides[level][:, None] if rounds_cells else 1.0
    sides = rois[:, 1:] / unit
    return min(distance, float((np.abs(sides - np.floor(sides) - 0.5) * unit).min()))


def proposals(
    cfg: Config, fg_scores: Sequence[np.ndarray], bbox_deltas: Sequence[np.ndarray], im_info: np.ndarray
) -> Proposals:
    """Test-time proposals of a network's RPN. Args: of every level, fg_scores [A, H, W] and bbox_deltas [4A, H, W]."""
    spec, test = NetworkSpec.from_config(cfg), cfg.TEST
    return propose_from_pyramid(
        fg_scores, bbox_deltas, im_info, feature_strides=spec.feature_strides,
        scales=spec.anchor_scales, ratios=spec.anchor_ratios, pre_nms_top_n=test.RPN_PRE_NMS_TOP_N,
        post_nms_top_n=test.RPN_POST_NMS_TOP_N, nms_thresh=test.RPN_NMS_THRESH, min_size=test.RPN_MIN_SIZE, draws=Draws(0),
    )  # fmt: skip


def check_proposals(cfg: Config, arg: Arrays, aux: Arrays, inputs: Arrays) -> None:
    """Raises: RuntimeError when two proposals have the same score: their order would be luck."""
    spec = NetworkSpec.from_config(cfg)
    prob = "rpn_cls_prob_t" if spec.family == "fpn" else "rpn_cls_prob_reshape"
    names = [f"{name}{level}" for name in (prob, "rpn_bbox_pred") for level in rpn_levels(spec)]
    found = [value[0] for value in outputs_of(build_symbol(cfg, False), names, arg, aux, inputs).values()]
    foreground = [each[len(each) // 2 :] for each in found[: len(found) // 2]]
    kept = proposals(cfg, foreground, found[len(found) // 2 :], inputs["im_info"][0])
    scores = kept.scores[: kept.num_valid, 0]
    if repeated := len(scores) - len(np.unique(scores)):
        raise RuntimeError(
            f"calibrated_init: {repeated} of {len(scores)} proposals repeat another's score: choose another seed"
        )
