"""Aligned-Inception-ResNet: the paper's count of parameters, strides, padding, and which convolutions are deformable."""

import re

import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.batch import feature_size
from dcn_tasks.config import load_config
from torch_port.layers import BatchNorm, DeformConv2d
from torch_port.models import build_network, fold_batch_norm
from torch_port.models.backbone import AlignedInceptionResNet, InceptionUnit
from torch_port.models.build import fixed_parameters

IMAGENET_CLASSIFIER = 2048 * 1000 + 1000
NARROW = "demo/narrow_aligned_rfcn_dcn"


def narrow(**arguments):
    return AlignedInceptionResNet((1, 2, 2, 2), base_width=4, **arguments).double()


def on_meta(config, **overrides):
    with torch.device("meta"):
        return build_network(load_config(config, **overrides))


def test_parameters_are_the_papers_64_3_million():
    """Convolutions 62.203 M, with the ImageNet classifier 64.252 M, with gamma and beta 64.382 M; the paper's table: 64.3."""
    network = AlignedInceptionResNet().to("meta")
    numbers = {name: tensor.numel() for name, tensor in network.named_parameters()}
    convolutions = sum(n for name, n in numbers.items() if re.search(r"conv\d?\.weight$", name))
    scales = sum(n for name, n in numbers.items() if re.search(r"\bbn\d?\.(weight|bias)$", name))
    assert convolutions + scales == sum(numbers.values())
    counts = (convolutions, convolutions + IMAGENET_CLASSIFIER, convolutions + IMAGENET_CLASSIFIER + scales)
    assert [round(count / 1e6, 3) for count in counts] == [62.203, 64.252, 64.382]


@pytest.mark.parametrize("size", [(600, 1000), (97, 64), (224, 223), (603, 1001)])
def test_sides_are_rounded_up_at_every_stride(size):
    """Padding is k // 2 everywhere: side n becomes ceil(n / 2) four times over; ResNet's unpadded pooling may give less."""
    network = AlignedInceptionResNet((1, 1, 1, 1), base_width=2).to("meta")
    _, _, stage4, stage5 = network(torch.empty(1, 3, *size, device="meta"))
    expected = tuple(-(-side // 16) for side in size)
    assert stage4.shape == (1, 32, *expected)
    assert stage5.shape == (1, 64, *expected)
    assert feature_size(*size, "aligned_inception_resnet") == expected


def test_cells_of_every_stage_stay_in_the_middle_of_what_they_see():
    """Aligned: the gradient of a cell's value is centred on the pixel that the cell is projected to, 16 * place."""
    torch.manual_seed(0)
    network = narrow().eval()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 1.0)  # every path counts
    pool = network.stem.pool  # the same windows, of which every pixel counts
    network.stem.pool = torch.nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding)
    image = torch.ones(1, 3, 513, 513, dtype=torch.float64, requires_grad=True)
    network(image).stage4[0, 0, 16, 16].backward()
    seen = image.grad[0].abs().sum(dim=0).nonzero()
    low, high = seen.min(dim=0).values, seen.max(dim=0).values
    assert ((low + high) / 2).tolist() == [16 * 16, 16 * 16]


def test_stride_stands_on_the_first_3x3_of_both_branches_and_on_the_projection():
    unit = narrow().stage3[0]
    assert unit.shortcut.conv.stride == unit.a.conv2.stride == unit.b.conv2.stride == (2, 2)
    assert unit.a.conv1.stride == unit.b.conv1.stride == unit.b.conv3.stride == unit.conv2.stride == (1, 1)


def test_last_stage_keeps_its_resolution_and_dilates_every_3x3():
    network = narrow()
    for unit in network.stage5:
        for conv in (unit.a.conv2, unit.b.conv2, unit.b.conv3):
            assert (conv.stride, conv.dilation, conv.padding) == ((1, 1), (2, 2), (2, 2))
    assert network.stage4[1].b.conv3.dilation == (1, 1)


def deformable(network):
    return {name for name, module in network.named_modules() if isinstance(module, DeformConv2d)}


def test_the_last_three_3x3_convolutions_are_deformable_by_default_and_all_nine_by_option():
    last = {f"backbone.stage5.2.{name}" for name in ("a.conv2", "b.conv2", "b.conv3")}
    full = "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem"
    assert deformable(on_meta(full, network__BACKBONE="aligned_inception_resnet")) == last
    every = on_meta(
        full, network__BACKBONE="aligned_inception_resnet", network__DEFORM_CONV_UNITS=["res5a", "res5b", "res5c"]
    )
    assert deformable(every) == {name.replace(".2.", f".{i}.") for name in last for i in range(3)}
    one = on_meta(NARROW, network__DEFORM_CONV_UNITS=["res5a_branch3b"])
    assert deformable(one) == {"backbone.stage5.0.b.conv2"}


def test_unit_with_zero_offsets_is_the_plain_unit():
    torch.manual_seed(0)
    groups = {("a", 2): 2, ("b", 2): 2, ("b", 3): 1}
    more = {"stride": 2, "dilation": 2, "projects": True}
    plain, moved = InceptionUnit(8, 4, **more).double(), InceptionUnit(8, 4, offset_groups=groups, **more).double()
    weights = plain.state_dict()
    zeros = {name: torch.zeros_like(tensor) for name, tensor in moved.state_dict().items() if "offset_conv" in name}
    assert len(zeros) == 6
    moved.load_state_dict(weights | zeros)
    x = torch.randn(2, 8, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(moved(x), plain(x), rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


def test_offsets_of_a_strided_convolution_are_strided_too():
    unit = InceptionUnit(8, 4, stride=2, projects=True, offset_groups={("b", 2): 2, ("b", 3): 2})
    assert (unit.b.offset_conv2.stride, unit.b.offset_conv3.stride) == ((2, 2), (1, 1))
    assert unit(torch.randn(1, 8, 7, 9)).shape == (1, 16, 4, 5)


def test_new_networks_start_without_offsets():
    network = build_network(load_config(NARROW))
    offsets = [tensor for name, tensor in network.named_parameters() if "offset_conv" in name]
    assert len(offsets) == 6
    assert not any(tensor.any() for tensor in offsets)


def test_folded_network_is_the_same_function():
    torch.manual_seed(0)
    network = narrow().eval()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, BatchNorm) for module in folded.modules())
    x = torch.randn(1, 3, 64, 80, dtype=torch.float64)
    expected = network(x).stage5
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(folded(x).stage5 / scale, expected / scale, rtol=0, atol=FLOAT64_SAME_FUNCTION)


def test_fixed_parameters_reach_into_the_branches():
    network = build_network(load_config(NARROW))
    names = [name for name, _ in network.named_parameters()]
    held = fixed_parameters(network, ["conv1", "bn_conv1", "res2", "bn2"])
    assert held == [name for name in names if name.startswith(("backbone.stem.", "backbone.stage2."))]
    scales = [name for name in names if re.search(r"\bbn\d?\.", name)]
    assert fixed_parameters(network, ["gamma", "beta"]) == scales
    offsets = [name for name in names if "stage5" in name and ".bn" not in name]
    assert fixed_parameters(network, ["res5"]) == offsets
