"""What the reference starts with: names, shapes, values, what is frozen, how fast the rest learns."""

import numpy as np
import pytest
from tiny_network import tiny

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError

pytestmark = pytest.mark.mxnet
VOC = "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem"
COCO = "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem"
RCNN = "faster_rcnn/resnet_v1_101_voc0712_rcnn_dcn_end2end"


def new_parameters(classes: int, anchors: int) -> dict[str, tuple[int, ...]]:
    """Weights of the layers that are not ImageNet's, R-FCN rows of the original's table."""
    shapes = {
        "rpn_conv_3x3": (512, 1024, 3, 3),
        "rpn_cls_score": (2 * anchors, 512, 1, 1),
        "rpn_bbox_pred": (4 * anchors, 512, 1, 1),
        "conv_new_1": (1024, 2048, 1, 1),
        "rfcn_cls": (49 * classes, 1024, 1, 1),
        "rfcn_bbox": (392, 1024, 1, 1),
        "rfcn_cls_offset_t": (98 * classes, 1024, 1, 1),
        "rfcn_bbox_offset_t": (98, 1024, 1, 1),
        **{f"res5{unit}_branch2b_offset": (72, 512, 3, 3) for unit in "abc"},
    }
    weights = {f"{layer}_weight": shape for layer, shape in shapes.items()}
    return weights | {f"{layer}_bias": shape[:1] for layer, shape in shapes.items()}


@pytest.fixture(scope="module")
def tiny_params():
    from mxnet_ref import init_params

    return init_params(tiny())


@pytest.mark.parametrize(("config", "classes", "anchors"), [(VOC, 21, 9), (COCO, 81, 12)])
def test_new_parameters_have_the_original_shapes(config, classes, anchors):
    from mxnet_ref.init import network_shapes

    arg, aux = network_shapes(load_config(config))
    new = {name: shape for name, shape in arg.items() if name.endswith("_bias") or name[:-7] + "_bias" in arg}
    assert new == new_parameters(classes, anchors)
    backbone = arg.keys() - new.keys()
    assert sum(name.endswith("_weight") for name in backbone) == 104
    assert sum(name.endswith("_gamma") for name in backbone) == 104
    assert sum(name.endswith("_beta") for name in backbone) == 104
    assert len(aux) == 208


def test_original_freezes_the_stem_res2_and_every_normalisation():
    from mxnet_ref import fixed_parameters
    from mxnet_ref.init import network_shapes

    arg, _ = network_shapes(load_config(VOC))
    fixed = set(fixed_parameters(arg, load_config(VOC)))
    free = arg.keys() - fixed
    frozen_layers = {name for name in arg if name == "conv1_weight" or name.startswith("res2")}
    assert fixed == frozen_layers | {name for name in arg if name.endswith(("_gamma", "_beta"))}
    assert new_parameters(21, 9).keys() <= free
    assert len(free) == len(new_parameters(21, 9)) + 104 - 1 - 10


def test_narrow_networks_freeze_nothing(tiny_params):
    from mxnet_ref import fixed_parameters

    assert fixed_parameters(tiny_params[0], tiny()) == []


def test_only_conv_new_1_learns_three_times_as_fast():
    from mxnet_ref import build_symbol, learning_rate_multipliers

    for is_train in (True, False):
        found = learning_rate_multipliers(build_symbol(VOC, is_train))
        assert found == {"conv_new_1_weight": 3.0, "conv_new_1_bias": 3.0}


def test_only_the_fully_connected_offsets_learn_a_hundred_times_slower():
    from mxnet_ref import build_symbol, learning_rate_multipliers

    for is_train in (True, False):
        found = learning_rate_multipliers(build_symbol(RCNN, is_train))
        assert found == {"offset_weight": 0.01, "offset_bias": 0.01}


def test_faster_rcnn_starts_with_zero_offsets_and_small_heads():
    from mxnet_ref import init_params

    arg, _ = init_params(tiny("demo/narrow_rcnn_dcn"))
    assert not any(value.any() for name, value in arg.items() if "offset" in name)
    for layer in ("fc_new_1", "fc_new_2", "cls_score", "bbox_pred"):
        assert not arg[f"{layer}_bias"].any()
        assert 0.008 < arg[f"{layer}_weight"].std() < 0.012


def test_offset_layers_and_biases_start_at_zero_and_new_weights_small(tiny_params):
    arg, aux = tiny_params
    offsets = [name for name in arg if "offset" in name]
    assert len(offsets) == 6
    assert not any(arg[name].any() for name in offsets)
    assert not any(value.any() for name, value in arg.items() if name.endswith(("_bias", "_beta")))
    new = np.concatenate([arg[f"{layer}_weight"].ravel() for layer in ("rpn_conv_3x3", "conv_new_1", "rfcn_cls")])
    assert 0.009 < new.std() < 0.011
    fan_in = np.prod(arg["res5a_branch2b_weight"].shape[1:])
    assert np.isclose(arg["res5a_branch2b_weight"].std(), np.sqrt(2 / fan_in), rtol=0.05)
    assert all((value == (1 if name.endswith("var") else 0)).all() for name, value in aux.items())


def test_a_parameter_depends_on_the_seed_and_its_name_alone(tiny_params):
    from mxnet_ref import init_params

    plain, _ = init_params(tiny("demo/narrow_rfcn"))
    assert plain.keys() < tiny_params[0].keys()
    assert all((plain[name] == tiny_params[0][name]).all() for name in plain)
    other, _ = init_params(tiny(), seed=1)
    assert (other["rfcn_cls_weight"] != tiny_params[0]["rfcn_cls_weight"]).any()


def test_pretrained_backbone_is_read_and_new_layers_are_not(tmp_path, tiny_params):
    from mxnet_ref import init_params, save_checkpoint

    cfg = tiny(network__pretrained=str(tmp_path / "backbone"), network__pretrained_epoch=3)
    marked = {name: np.full_like(value, 5) for name, value in tiny_params[0].items()}
    save_checkpoint(tmp_path / "backbone", 3, marked, {k: v + 1 for k, v in tiny_params[1].items()}, cfg)
    arg, aux = init_params(cfg)
    fives = {name for name, value in arg.items() if (value == 5).all()}
    assert "conv1_weight" in fives and "bn5a_branch2c_gamma" in fives and "res5a_branch2b_weight" in fives
    assert not any(name.startswith(("rpn", "rfcn", "conv_new")) or "offset" in name for name in fives)
    assert (aux["bn_conv1_moving_var"] == 2).all()


def test_pretrained_backbone_of_another_width_is_refused_by_name(tmp_path, tiny_params):
    from mxnet_ref import init_params, save_checkpoint

    save_checkpoint(tmp_path / "backbone", 0, *tiny_params, tiny())
    with pytest.raises(InputError, match=r"conv1_weight: expected \[16, 3, 7, 7\], got \[8, 3, 7, 7\]"):
        init_params(tiny(network__pretrained=str(tmp_path / "backbone"), network__BASE_WIDTH=16))
    with pytest.raises(InputError, match="no such file"):
        init_params(tiny(network__pretrained=str(tmp_path / "elsewhere")))
