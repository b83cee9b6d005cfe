"""Test graphs, and the halves of alternate training, derived from the original's training lists by what its code says of them.

The lists of the specification hold training graphs only. What `get_symbol(cfg, is_train=False)`, `get_symbol_rpn` and
`get_symbol_rfcn`/`get_symbol_rcnn` leave out, add and rename is written here as rules on those lists.
"""

import re

import numpy as np
import pytest

from dcn_tasks.errors import InputError
from tests.mxnet_ref.test_graphs import GRAPHS, operators

pytestmark = pytest.mark.mxnet

TWO_STAGE = [name for name in GRAPHS if not name.startswith("dl")]
HALVES = [name for name in TWO_STAGE if not name.startswith("fpn")]
TRAINING_ONLY = (  # nodes that testing has not, whatever the network
    "rpn_bbox_loss_",
    "rpn_bbox_loss_l1",
    "rpn_bbox_loss",
    "gt_boxes_reshape",
    "bbox_loss_",
    "bbox_loss",
    "label_reshape",
    "bbox_loss_reshape",
    "blockgrad0",
    "cls_prob",
    "cls_prob_reshape",
)
RPN_LOSS = ("rpn_cls_prob", "sub0", "rpn_bbox_loss_", "mul0", "rpn_bbox_loss")
PROPOSING = ("rpn_cls_act", "rpn_cls_act_reshape", "rois")


def name_of(line: str) -> str:
    return line.split(" | ")[1]


def head_starts(lines: list[str]) -> int:
    """The first node behind the sampled RoIs."""
    return next(place for place, line in enumerate(lines) if name_of(line) == "custom0") + 1


def is_backbone(line: str) -> bool:
    return re.match(r"(conv1|bn_?conv1|pool1|res\d|bn\d)", name_of(line)) is not None


def in_testing(train: list[str]) -> list[str]:
    """get_symbol(cfg, is_train=False) of a two-stage detector: no losses and targets, RoIs as proposed, probabilities of the
    RPN under another name, and three outputs. The shipped files propose as many in testing as in training."""
    kept = []
    for line in train:
        name = name_of(line)
        if (
            name in TRAINING_ONLY
            or re.fullmatch(r"(sub|mul|custom|concat)\d", name)
            or line.startswith("SoftmaxOutput")
        ):
            continue
        if re.match(
            r"rpn_(cls_score_t2|bbox_pred_t)_p\d", name
        ):  # of the pyramid's losses; nothing reads them in testing
            continue
        kept.append(line.replace("rpn_cls_act", "rpn_cls_prob").replace("custom0[0]", "rois"))
    return [*kept, *scores(train)]


def scores(train: list[str]) -> list[str]:
    """The softmax and the two shapes that testing ends with."""
    logits = "cls_score_reshape" if any("rfcn_cls" in line for line in train) else "cls_score"
    boxes = "bbox_pred_reshape" if logits == "cls_score_reshape" else "bbox_pred"
    (classes,) = (line.rpartition("shape=")[2] for line in train if name_of(line) == "cls_prob_reshape")
    (deltas,) = (line.rpartition("shape=")[2] for line in train if name_of(line) == "bbox_loss_reshape")
    return [
        f"SoftmaxActivation | cls_prob | data={logits} |",
        f"Reshape | cls_prob_reshape | data=cls_prob | shape={classes}",
        f"Reshape | bbox_pred_reshape | data={boxes} | shape={deltas}",
    ]


@pytest.fixture
def lists(spec_folder):
    return {name: operators(spec_folder / "layers" / f"{name}.txt") for name in GRAPHS}


def traced(name: str, is_train: bool, **more) -> list[str]:
    import mxnet_ref

    return mxnet_ref.trace(mxnet_ref.build_symbol(GRAPHS[name], is_train, **more))


@pytest.mark.parametrize("name", TWO_STAGE)
def test_detectors_test_graph_is_the_training_graph_without_its_targets(lists, name):
    assert traced(name, False) == in_testing(lists[name])


@pytest.mark.parametrize("name", ["dl_train", "dl_dcn_train"])
def test_deeplabs_test_graph_has_no_label(lists, name):
    assert traced(name, False) == [line.replace(", label=label", "") for line in lists[name]]


@pytest.mark.parametrize("name", HALVES)
def test_rpn_alone_trains_on_res4(lists, name):
    train = lists[name]
    first = next(place for place, line in enumerate(train) if name_of(line) == "rpn_conv_3x3")
    wanted = [line for line in train[:first] if not re.match(r"(res|bn)5", name_of(line))]
    wanted += [line for line in train[first : head_starts(train) - 2] if name_of(line) not in PROPOSING]
    wanted = [line.replace(" | ignore_label", " | grad_scale=1.0, ignore_label") for line in wanted]
    assert traced(name, True, part="rpn") == wanted


@pytest.mark.parametrize("name", HALVES)
def test_rpn_alone_proposes_with_scores(lists, name):
    train = lists[name]
    wanted = [
        line.replace("rpn_cls_act", "rpn_cls_prob").replace("op_type=proposal,", "op_type=proposal, output_score=True,")
        for line in train[: head_starts(train) - 2]
        if not re.match(r"(res|bn)5", name_of(line)) and name_of(line) not in RPN_LOSS
    ]
    assert traced(name, False, part="rpn") == wanted


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("is_train", [True, False])
def test_head_alone_takes_rois_and_targets(lists, name, is_train):
    train = lists[name]
    boxes = re.search(r"-1, (\d+)\)", next(line for line in train if name_of(line) == "bbox_loss_reshape"))[1]
    rois = ["Reshape | rois_reshape | data=rois | shape=(-1, 5)"]
    targets = [
        "Reshape | label_reshape | data=label | shape=(-1,)",
        f"Reshape | bbox_target_reshape | data=bbox_target | shape=(-1, {boxes})",
        f"Reshape | bbox_weight_reshape | data=bbox_weight | shape=(-1, {boxes})",
    ]
    features = [line for line in train if is_backbone(line)]
    behind = train[head_starts(train) :]
    if not is_train:
        kept = in_testing([line for line in behind if "custom1" not in name_of(line)])
        wanted = [*rois, *features, *(line.replace("rois=rois", "rois=rois_reshape") for line in kept)]
        assert traced(name, False, part="rcnn") == wanted
        return
    given = {"custom0[0]": "rois_reshape", "custom0[1]": "label_reshape", "custom0[2]": "bbox_target_reshape"}
    given |= {"custom0[3]": "bbox_weight_reshape", "custom1": "custom0", "sub1": "sub0", "mul1": "mul0"}
    mined = any("BoxAnnotatorOHEM" in line for line in behind)
    head = []
    for line in behind:
        if name_of(line) == "label_reshape" or (name_of(line) == "blockgrad0" and not mined):
            continue
        for old, new in given.items():
            line = line.replace(old, new)
        if name_of(line) == "cls_prob":
            line = line.replace(" | ignore_label", " | grad_scale=1.0, ignore_label")
            line = line.replace("] | normal", "] | grad_scale=1.0, normal").replace(
                "reshape | normal", "reshape | grad_scale=1.0, normal"
            )
        head.append(line.replace("| label_reshape |", "| custom0[0] |") if name_of(line) == "blockgrad0" else line)
    assert traced(name, True, part="rcnn") == [*rois, *targets, *features, *head]


@pytest.mark.parametrize(("config", "part"), [("fpn_train", "rpn"), ("dl_train", "rcnn"), ("rfcn_train", "head")])
def test_a_part_that_the_original_does_not_have_is_refused(config, part):
    with pytest.raises(InputError, match="part: expected end2end"):
        traced(config, True, part=part)


@pytest.mark.parametrize("network", ["demo/narrow_rfcn_dcn", "demo/narrow_rcnn"])
def test_the_halves_compute_what_the_whole_does(network):
    from dcn_tasks.config import load_config
    from dcn_tasks.streams import Draws
    from mxnet_ref import build_symbol, init_params
    from mxnet_ref.executor import BoundGraph
    from mxnet_ref.operators import set_draws

    cfg = load_config(network, SCALES=[96, 128], network__UNITS=[1, 1, 1, 1], TEST__RPN_POST_NMS_TOP_N=8)
    arg, aux = init_params(cfg, seed=0)
    inputs = {"data": np.random.default_rng(0).normal(0, 50, (1, 3, 96, 128)), "im_info": np.array([[96.0, 128, 1]])}
    inputs = {name: value.astype(np.float32) for name, value in inputs.items()}
    outputs = {}
    for part, names in (("end2end", ("data", "im_info")), ("rpn", ("data", "im_info")), ("rcnn", ("data", "rois"))):
        set_draws(Draws(0, 0))
        graph = BoundGraph(build_symbol(cfg, False, part=part), arg, aux)
        outputs[part] = graph.outputs({name: inputs[name] for name in names})
        inputs["rois"] = outputs["end2end"][0]
    np.testing.assert_array_equal(outputs["rpn"][0], outputs["end2end"][0])
    assert outputs["rpn"][1].shape == (8, 1)
    for alone, whole in zip(outputs["rcnn"], outputs["end2end"][1:], strict=True):
        np.testing.assert_array_equal(alone, whole)
