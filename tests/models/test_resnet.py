"""The backbone's layout: strides, dilation, ceil pooling, and where it is deformable."""

import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from torch_port.layers import BatchNorm, DeformConv2d
from torch_port.models.backbone import Bottleneck, ResNet


def narrow(**arguments):
    return ResNet((1, 2, 2, 3), base_width=4, **arguments).double()


@pytest.mark.parametrize("size, expected", [((600, 1000), (38, 63)), ((97, 64), (6, 4)), ((224, 223), (14, 14))])
def test_feature_size_rounds_up_at_pool_and_strides(size, expected):
    """600 x 1000: stem 300 x 500, pool 150 x 250, then 75 x 125 and 38 x 63."""
    network = ResNet((1, 1, 1, 1), base_width=1).to("meta")
    _, _, stage4, stage5 = network(torch.empty(1, 3, *size, device="meta"))
    assert stage4.shape == (1, 16, *expected)
    assert stage5.shape == (1, 32, *expected)


def test_stride_stands_on_the_first_1x1_and_on_the_shortcut():
    unit = narrow().stage3[0]
    assert (unit.conv1.stride, unit.shortcut.conv.stride) == ((2, 2), (2, 2))
    assert (unit.conv2.stride, unit.conv3.stride) == ((1, 1), (1, 1))


def test_last_stage_keeps_its_resolution_and_dilates():
    for unit in narrow().stage5:
        assert (unit.conv1.stride, unit.conv2.dilation, unit.conv2.padding) == ((1, 1), (2, 2), (2, 2))
    for unit in narrow().stage4:
        assert (unit.conv2.dilation, unit.conv2.padding) == ((1, 1), (1, 1))


def test_only_first_units_project():
    network = narrow()
    for stage in (network.stage2, network.stage3, network.stage4, network.stage5):
        assert [unit.shortcut is not None for unit in stage] == [True] + [False] * (len(stage) - 1)


def test_named_units_are_deformable_and_no_others():
    network = narrow(deformable=frozenset({(5, 0), (5, 2)}), offset_groups=2)
    found = {name for name, module in network.named_modules() if isinstance(module, DeformConv2d)}
    assert found == {"stage5.0.conv2", "stage5.2.conv2"}
    unit = network.stage5[2]
    assert unit.offset_conv.weight.shape == (36, 32, 3, 3)
    assert (unit.offset_conv.padding, unit.offset_conv.dilation) == ((2, 2), (2, 2))


def test_dilations_of_stage_5_and_of_its_offsets_are_arguments():
    network = narrow(deformable=frozenset({(4, 1), (5, 0)}), offset_groups=2, stage5_dilation=4, offset_dilation=1)
    unit = network.stage5[0]
    assert (unit.conv2.dilation, unit.conv2.padding) == ((4, 4), (4, 4))
    assert (unit.offset_conv.dilation, unit.offset_conv.padding) == ((1, 1), (1, 1))
    assert network.stage5[1].conv2.dilation == (4, 4)
    assert network.stage4[1].offset_conv.dilation == network.stage4[1].conv2.dilation == (1, 1)


def test_deformable_unit_with_zero_offsets_is_the_plain_unit():
    torch.manual_seed(0)
    plain, deformable = Bottleneck(8, 2, dilation=2).double(), Bottleneck(8, 2, dilation=2, offset_groups=2).double()
    weights = plain.state_dict()
    for name in ("weight", "bias"):
        weights[f"offset_conv.{name}"] = torch.zeros_like(deformable.offset_conv.get_parameter(name))
    deformable.load_state_dict(weights)
    x = torch.randn(2, 8, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(deformable(x), plain(x), rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


def test_global_statistics_reach_every_normalisation():
    for flag in (True, False):
        modules = [module for module in narrow(use_global_stats=flag).modules() if isinstance(module, BatchNorm)]
        assert len(modules) == 1 + 3 * 8 + 4
        assert all(module.use_global_stats is flag and module.eps == 1e-5 for module in modules)


def test_convolutions_have_no_bias_but_the_offset_convolution_has():
    network = narrow(deformable=frozenset({(5, 1)}), offset_groups=2)
    biased = {name for name, _ in network.named_parameters() if name.endswith("bias") and ".bn" not in name}
    assert biased == {"stage5.1.offset_conv.bias"}
