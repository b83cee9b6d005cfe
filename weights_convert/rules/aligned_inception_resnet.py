"""Aligned-Inception-ResNet: every array of its checkpoints, and its place in PyTorch."""

from dcn_tasks.network import ALIGNED, NetworkSpec
from weights_convert.rules.rule import Binding, Rule, Scopes, batch_norm, convolution

CONVOLUTIONS = {  # node -> module, kernel
    "branch2a": ("a.conv1", 1),
    "branch2b": ("a.conv2", 3),
    "branch3a": ("b.conv1", 1),
    "branch3b": ("b.conv2", 3),
    "branch3c": ("b.conv3", 3),
    "merge": ("conv2", 1),
    "branch1": ("shortcut.conv", 1),
}
NORMS = {
    "branch2a": "a.bn1",
    "branch3a": "b.bn1",
    "branch3b": "b.bn2",
    "concat": "bn1",
    "merge": "bn2",
    "branch1": "shortcut.bn",
}
RELUS = {"branch2a": "a.relu1", "branch3a": "b.relu1", "branch3b": "b.relu2", "concat": "relu1"}

BACKBONE: tuple[Rule, ...] = (
    *convolution("conv1", "backbone.stem.conv", ("stem", "image", 7, 7), bias=False, in_backbone_file=True),
    *batch_norm("bn_conv1", "backbone.stem.bn", "stem", in_backbone_file=True),
    *convolution(
        "res{unit}_{node}", "backbone.stage{stage}.{i}.{module}", ("out", "in", "kernel", "kernel"),
        bias=False, each="inception_convolution", in_backbone_file=True,
    ),
    *batch_norm(
        "bn{unit}_{node}", "backbone.stage{stage}.{i}.{module}", "out", each="inception_norm", in_backbone_file=True
    ),
    *convolution(
        "res{unit}_{node}_offset", "backbone.stage{stage}.{i}.{branch}.offset_conv{k}", ("offsets", "in", 3, 3),
        each="inception_deformable",
    ),
)  # fmt: skip


def unit_scopes(spec: NetworkSpec, taps: int) -> Scopes:
    """Bindings of Aligned-Inception-ResNet's units: unit, inception_convolution, .._norm, .._relu, .._deformable,
    .._modulated.

    Every binding has `stage` 2..5, `unit` as in MXNet's names and `i`, its place in the stage from 0; those of parts also
    `node` and `module`; convolutions `out`, `in`, `kernel`; norms `out`; deformable ones `branch`, `k`, `in`, `offsets`.
    All scopes are empty for another backbone.
    """
    kinds = ("unit", "convolution", "norm", "relu", "deformable")
    found: dict[str, list[Binding]] = {kind: [] for kind in kinds}
    channels = spec.base_width
    for stage in (2, 3, 4, 5) if spec.backbone == ALIGNED else ():
        width = spec.base_width * 2 ** (stage - 2)
        for i, unit in enumerate(spec.unit_names(stage)):
            place: dict[str, int | str] = {"stage": stage, "unit": unit, "i": i}
            found["unit"].append(place)
            for node, (module, kernel) in CONVOLUTIONS.items():
                if node == "branch1" and i > 0:
                    continue
                out, into = widths(node, width, channels)
                part = place | {"node": node, "module": module, "out": out, "in": into}
                found["convolution"].append(part | {"kernel": kernel})
                if f"res{unit}_{node}" in spec.deformable_convolutions:
                    branch, _, conv = module.partition(".")
                    offsets: Binding = {
                        "branch": branch,
                        "k": int(conv[-1]),
                        "offsets": numbers_per_tap(spec) * taps * spec.num_deformable_group,
                    }
                    found["deformable"].append({**part, **offsets})
            for node, module in NORMS.items():
                if node != "branch1" or i == 0:
                    out, _ = widths(node, width, channels)
                    found["norm"].append(place | {"node": node, "module": module, "out": out})
            found["relu"] += [place | {"node": node, "module": module} for node, module in RELUS.items()]
            channels = 4 * width
    found["modulated"] = found["deformable"] if spec.modulated_conv else []
    return {"inception_unit": found.pop("unit"), **{f"inception_{kind}": parts for kind, parts in found.items()}}


def numbers_per_tap(spec: NetworkSpec) -> int:
    """Of a convolution that guides a deformable one: y and x, and the mask of DCNv2."""
    return 3 if spec.modulated_conv else 2


def widths(node: str, width: int, channels: int) -> tuple[int, int]:
    """Channels out of and into a node of a unit of `width` that reads `channels`."""
    both = width + width // 2
    outer = {"merge": (4 * width, both), "branch1": (4 * width, channels), "concat": (both, both)}
    if node in outer:
        return outer[node]
    own = width if node.startswith("branch2") else width // 2
    return own, channels if node.endswith("a") else own
