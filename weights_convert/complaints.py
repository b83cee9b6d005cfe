"""What is wrong with a checkpoint for a configuration, in sentences, and which configuration would fit."""

from collections.abc import Mapping

from dcn_tasks.config import config_names, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec
from weights_convert.arrays import Array
from weights_convert.rules.rule_set import Account, RuleSet, account_for, rules_for

SHOWN = 4  # sentences of each kind; a wrong depth alone makes hundreds
# Named only where nothing else fits: rows of published tables, and torchvision's layout, whose arrays are the original's.
SECOND_CHOICE = ("paper/", "readme/", "rfcn/resnet_torchvision")


class Misfit(InputError):
    """A file that does not fit a configuration. `problems`: one sentence for every array, none left out."""

    def __init__(self, message: str, problems: list[str]) -> None:
        super().__init__(message)
        self.problems = problems


def misfit(source: str, account: Account, rules: RuleSet, arrays: Mapping[str, tuple[str, Array]]) -> Misfit:
    """The exception whose message has the first few problems of each kind and the remedy."""
    kinds = [
        [mismatch_sentence(*each, rules.spec) for each in sorted(account.mismatched, key=telling)],
        [f"{entry.mxnet}: expected {list(entry.shape)}, the file does not have it" for entry in account.missing],
        [f"{name} {list(shape)}: the network has no place for it" for name, shape in account.foreign],
        [f"{name}: expected floating point, got {kind}" for name, kind in account.untyped],
        [f"{absent}: missing, though {present} is there" for absent, present in account.halves],
    ]
    problems = [sentence for sentences in kinds for sentence in sentences]
    heading = (
        f"{source}: does not fit the network of this config ({describe(rules.spec)}), {len(problems)} arrays differ:"
    )
    lines = [line for sentences in kinds for line in some(sentences)]
    return Misfit("\n  ".join([heading, *lines, remedy(arrays, account)]), problems)


def some(sentences: list[str]) -> list[str]:
    rest = len(sentences) - SHOWN
    return sentences[:SHOWN] + ([f"... and {rest} more of this kind"] if rest > 0 else [])


def telling(mismatch: tuple[str, tuple[int, ...], tuple[int, ...]]) -> tuple[bool, bool]:
    """Sorts the array that tells the number of classes first, then weights before biases."""
    return mismatch[0] not in ("rfcn_cls_weight", "cls_score_weight"), len(mismatch[1]) == 1


def mismatch_sentence(name: str, got: tuple[int, ...], wanted: tuple[int, ...], spec: NetworkSpec) -> str:
    sentence = f"{name}: file has {list(got)}, the network wants {list(wanted)}"
    bins = spec.pooled_size**2
    maps_per_class = {"rfcn_cls_weight": bins, "rfcn_cls_offset_t_weight": 2 * bins, "cls_score_weight": 1}.get(name)
    if maps_per_class and got and got[0] % maps_per_class == 0:
        sentence += f": {got[0] // maps_per_class} classes there, {spec.num_classes} here"
    return sentence


FAMILIES = {
    "rfcn": "R-FCN",
    "rcnn": "Faster R-CNN",
    "fpn": "FPN Faster R-CNN",
    "class_aware_rpn": "class-aware RPN",
    "deeplab": "DeepLab",
}


def describe(spec: NetworkSpec) -> str:
    """e.g. "deformable R-FCN, units 3-4-23-3, 21 classes, 9 anchors"."""
    kind = "deformable " if spec.deform_conv_units or spec.deform_roi_pooling else ""
    anchors = "" if spec.family == "deeplab" else f", {spec.num_anchors} anchors"
    return f"{kind}{FAMILIES[spec.family]}, units {'-'.join(map(str, spec.units))}, {spec.num_classes} classes{anchors}"


def remedy(arrays: Mapping[str, tuple[str, Array]], account: Account) -> str:
    fitting = fitting_configs(arrays)
    if fitting:
        return f"the file fits: --config {' or '.join(fitting)}"
    if account.missing and not account.mismatched and not account.foreign:
        return "no config of this package fits: is it a whole checkpoint? Fetch it again, or give a config of your own"
    return "no config of this package fits: give a config of your own (NUM_CLASSES, network.*, symbol) that does"


def fitting_configs(arrays: Mapping[str, tuple[str, Array]]) -> list[str]:
    """Names of the package's configurations whose network takes exactly these arrays, backbone files aside; those of
    SECOND_CHOICE only where no other does."""
    found = {name: (state, tuple(array.shape), "f") for name, (state, array) in arrays.items()}
    fitting = []
    for name in config_names():
        try:
            rules = rules_for(load_config(name))
        except InputError:  # a family without rules
            continue
        account = account_for(found, rules)
        if account.holds and not account.backbone_only:
            fitting.append(name)
    return [name for name in fitting if not name.startswith(SECOND_CHOICE)] or fitting[:SHOWN]
