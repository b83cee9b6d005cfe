"""ImageNet ResNets under torchvision's names: torchvision's own, and MSRA's in Caffe layout as OpenMMLab hands it out.

torchvision's is not the original's network: its stride 2 stands on the 3x3 convolutions and its first pooling is padded, which
`network.BACKBONE: resnet_v1_torchvision` builds. Results from it are a substitute's, never a reproduction. MSRA's is the original's,
with planes in the order B, G, R. Neither names nor shapes tell the two apart.
"""

import re
from collections.abc import Mapping

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.network import RESNET, TORCHVISION
from weights_convert.families import Converted
from weights_convert.rules.rule_set import rules_for

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of pixels 0 to 1, planes R, G, B
PIXEL_MEANS = tuple(round(255 * mean, 3) for mean in reversed(MEAN))  # as configurations have them: B, G, R
MARK = "layer1.0.conv1.weight"  # a tensor that such a state_dict has, and none of ours
STEM = "backbone.stem.conv.weight"
NAMES = (  # torchvision's -> ours
    (r"conv1\.", "backbone.stem.conv."),
    (r"bn1\.", "backbone.stem.bn."),
    (r"layer(\d)\.(\d+)\.downsample\.0\.", "backbone.stage{}.{}.shortcut.conv."),
    (r"layer(\d)\.(\d+)\.downsample\.1\.", "backbone.stage{}.{}.shortcut.bn."),
    (r"layer(\d)\.(\d+)\.", "backbone.stage{}.{}."),
)
LEFT_OUT = {
    "fc.": "the ImageNet classifier, which no network here has",
    "num_batches_tracked": "a counter, of no use here",
}


def is_torchvision(state: Mapping[str, object]) -> bool:
    """Whether this looks like a ResNet under torchvision's names."""
    return MARK in state


def from_torchvision(state: Mapping[str, np.ndarray], cfg: Config, *, source: str = "state_dict") -> Converted:
    """A backbone's tensors from the state_dict of torchvision's resnet50 or resnet101.

    The first convolution takes pixels of 0 to 255 afterwards: its weight is divided by 255 and by torchvision's deviations.

    Args: state: torchvision's names -> float arrays. source: what to call it in messages.
    Raises: InputError for a configuration that has another backbone or other pixel means, and for tensors that are missing,
        foreign or of another shape.
    """
    if cfg.network.BACKBONE != TORCHVISION:
        raise InputError(
            f"{source}: torchvision's ResNet strides in its 3x3 convolutions: expected network.BACKBONE {TORCHVISION}, got "
            f"{cfg.network.BACKBONE}; if the file is MSRA's network in Caffe layout (OpenMMLab's resnet101_msra): --caffe"
        )
    if not np.allclose(np.asarray(cfg.network.PIXEL_MEANS, np.float64), PIXEL_MEANS, rtol=0, atol=1e-3):
        raise InputError(
            f"{source}: expected network.PIXEL_MEANS {list(PIXEL_MEANS)} (torchvision's, B, G, R), got "
            f"{np.asarray(cfg.network.PIXEL_MEANS).tolist()}"
        )
    renamed, dropped = backbone_tensors(state, cfg, source)
    scale = 255 * np.asarray(STD).reshape(1, 3, 1, 1)
    renamed[STEM] = (renamed[STEM].astype(np.float64) / scale).astype(renamed[STEM].dtype)
    return backbone_alone(renamed, dropped, cfg, "torchvision's ResNet, a substitute for the original's")


def from_caffe_layout(state: Mapping[str, np.ndarray], cfg: Config, *, source: str = "state_dict") -> Converted:
    """A backbone's tensors from MSRA's ResNet in Caffe layout, planes B, G, R, pixels of 0 to 255: the original's network.

    The first convolution takes planes R, G, B afterwards, as the original's checkpoints do.

    Args: state: torchvision's names -> float arrays. source: what to call it in messages.
    Raises: InputError for a configuration that has another backbone, and for tensors that are missing, foreign or of another shape.
    """
    if cfg.network.BACKBONE != RESNET:
        raise InputError(
            f"{source}: a ResNet in Caffe layout: expected network.BACKBONE {RESNET}, got {cfg.network.BACKBONE}"
        )
    if np.allclose(np.asarray(cfg.network.PIXEL_MEANS, np.float64), PIXEL_MEANS, rtol=0, atol=1e-3):
        raise InputError(
            f"{source}: a ResNet in Caffe layout: expected network.PIXEL_MEANS of its own, got torchvision's"
        )
    renamed, dropped = backbone_tensors(state, cfg, source)
    renamed[STEM] = np.ascontiguousarray(renamed[STEM][:, ::-1])
    what = "taken for MSRA's ResNet in Caffe layout, planes turned from B, G, R to R, G, B (names and shapes would be torchvision's too)"
    return backbone_alone(renamed, dropped, cfg, what)


def backbone_tensors(
    state: Mapping[str, np.ndarray], cfg: Config, source: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(tensors by our names, why others are left out). Raises: InputError unless they are the configuration's backbone."""
    dropped = {name: why for name in state for part, why in LEFT_OUT.items() if part in name}
    renamed = {ours(name): np.asarray(value) for name, value in state.items() if name not in dropped}
    wanted = {e.torch: e.shape for e in rules_for(cfg).entries.values() if e.in_backbone_file}
    problems = [f"{name} {list(wanted[name])} is not in it" for name in wanted if name not in renamed]
    problems += [f"{name} has no place in the network" for name in renamed if name not in wanted]
    problems += [
        f"{name}: expected {list(wanted[name])}, got {list(value.shape)}"
        for name, value in renamed.items()
        if name in wanted and value.shape != wanted[name]
    ]
    if problems:
        raise InputError(f"{source}: is not this configuration's ResNet: {'; '.join(problems[:4])}")
    return {name: renamed[name] for name in wanted}, dropped


def backbone_alone(tensors: dict[str, np.ndarray], dropped: dict[str, str], cfg: Config, what: str) -> Converted:
    fresh = [entry.torch for entry in rules_for(cfg).entries.values() if entry.torch not in tensors]
    return Converted(
        tensors, {}, fresh, dropped, [f"{what}: {len(fresh)} arrays of the heads keep their initial values"]
    )


def ours(name: str) -> str:
    """Our name of one of torchvision's tensors; layer1 is stage 2."""
    for pattern, place in NAMES:
        found = re.match(pattern, name)
        if found:
            groups = found.groups()
            numbers = (int(groups[0]) + 1, groups[1]) if groups else ()
            return place.format(*numbers) + name[found.end() :]
    return name
