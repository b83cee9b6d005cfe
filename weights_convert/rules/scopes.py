"""The repeated parts of a network, as bindings for the patterns of the rules."""

from dcn_tasks.network import NetworkSpec
from weights_convert.rules.aligned_inception_resnet import numbers_per_tap, unit_scopes
from weights_convert.rules.rule import Binding, Scopes

EXPANSION = 4  # a bottleneck's output channels over its width
TAPS = 3 * 3
UPSAMPLING_SIDE = 32  # of DeepLab's Deconvolution, which enlarges by 16
BRANCHES = {1: ("a", 1), 2: ("b", 3), 3: ("c", 1)}  # convolution k of a unit: letter of branch2, side of its kernel


def scopes_of(spec: NetworkSpec) -> Scopes:
    """Bindings by scope: network, deformable_head, modulated_head, plain_head, rpn_hidden, unit, convolution, projection,
    deformable_unit, modulated_unit; of a pyramid level, pooled_level, deformable_level, upper_level, lower_level.

    Fields of a unit: `stage` 2..5, `unit` "3b1" as in MXNet's names, `i` its place in the stage from 0; of a
    convolution also `k` 1..3, `letter` a..c, and the integers `out`, `in`, `kernel`.
    """
    units: list[Binding] = []
    convolutions: list[Binding] = []
    channels = spec.base_width
    for stage in (2, 3, 4, 5):
        width = spec.base_width * 2 ** (stage - 2)
        for i, unit in enumerate(spec.unit_names(stage)):
            names: dict[str, int | str] = {"stage": stage, "unit": unit, "i": i}
            outside = EXPANSION * width
            widths = {1: (width, channels), 2: (width, width), 3: (outside, width)}
            for k, (letter, kernel) in BRANCHES.items():
                out, into = widths[k]
                convolutions.append(names | {"k": k, "letter": letter, "kernel": kernel, "out": out, "in": into})
            offsets = numbers_per_tap(spec) * TAPS * spec.num_deformable_group
            units.append(names | {"out": outside, "in": channels, "width": width, "offsets": offsets})
            channels = outside
    head, levels = head_binding(spec), level_bindings(spec)
    spec.check_deformable_units()
    deformable = [unit for unit in units if f"res{unit['unit']}" in spec.deform_conv_units]
    return {
        "level": levels,
        "pooled_level": levels[:-1],
        "deformable_level": levels[:-1] if spec.deform_roi_pooling else [],
        "upper_level": levels[1:-1],
        "lower_level": levels[:-2],
        "network": [head],
        "deformable_head": [head] if spec.deform_roi_pooling and not spec.modulated_roi_pooling else [],
        "modulated_head": [head] if spec.modulated_roi_pooling else [],
        "plain_head": [] if spec.deform_roi_pooling else [head],
        "rpn_hidden": [head] if spec.rpn_width else [],
        "unit": units,
        "convolution": convolutions,
        "projection": [unit for unit in units if unit["i"] == 0],
        "deformable_unit": deformable,
        "modulated_unit": deformable if spec.modulated_conv else [],
        **unit_scopes(spec, TAPS),
    }


def level_bindings(spec: NetworkSpec) -> list[Binding]:
    """P2 to P6: `level`, and as integers the channels of its `stage`, and of the `source` of its last convolution."""
    stages = [EXPANSION * spec.base_width * 2**index for index in range(4)]
    sources = [*[spec.head_width] * 4, stages[-1]]
    return [
        {**head_binding(spec), "level": f"p{2 + index}", "stage": stage, "source": source}
        for index, (stage, source) in enumerate(zip([*stages, stages[-1]], sources, strict=True))
    ]


def head_binding(spec: NetworkSpec) -> Binding:
    """Channel counts outside the units. cls_maps, for example: one map per bin and class."""
    bins = spec.pooled_size**2
    return {
        "image": 3,
        "stem": spec.base_width,
        "stage4": 16 * spec.base_width,
        "stage5": 32 * spec.base_width,
        "rpn": spec.rpn_width,
        "rpn_in": spec.rpn_width or spec.head_width,
        "rpn_classes": spec.num_classes * spec.num_anchors,
        "rpn_scores": 2 * spec.num_anchors,
        "rpn_boxes": 4 * spec.num_anchors,
        "head": spec.head_width,
        "classes": spec.num_classes,
        "upsampling": UPSAMPLING_SIDE,
        "cls_maps": bins * spec.num_classes,
        "bbox_maps": bins * 4 * spec.num_reg_classes,
        "cls_offset_maps": 2 * bins * spec.num_classes,
        "bbox_offset_maps": 2 * bins,
        "guides": 3 * bins,
        "pooled": bins * spec.head_width,
        "fc": spec.fc_width,
        "boxes": 4 * spec.num_reg_classes,
    }
