"""Offsets and masks of modulated deformable convolutions, and the units that use them."""

import torch
from tolerances import FLOAT64_SAME_FUNCTION

from torch_port.layers import BatchNorm, ModulatedDeformConv2d, ModulatedDeformConv2dPack, Modulation
from torch_port.models import fold_batch_norm
from torch_port.models.backbone import Bottleneck, InceptionUnit, ResNet


def test_offsets_come_first_and_masks_are_twice_a_sigmoid():
    """Two groups, 54 channels: 36 offsets as they are, then 18 masks; a channel's value is its own number."""
    guides = torch.arange(54.0)[None, :, None, None].expand(1, 54, 2, 3) / 10 - 4
    offset, mask = Modulation(2)(guides)
    assert torch.equal(offset, guides[:, :36])
    assert torch.equal(mask, 2 * torch.sigmoid(guides[:, 36:]))
    assert torch.equal(Modulation(1)(torch.zeros(1, 27, 2, 2))[1], torch.ones(1, 9, 2, 2))


def test_modulated_unit_is_the_layer_that_guides_itself():
    """One path of two: Modulation between offset_conv and conv2, and ModulatedDeformConv2dPack."""
    torch.manual_seed(0)
    unit = Bottleneck(8, 4, dilation=2, offset_groups=2, modulated=True).double()
    pack = ModulatedDeformConv2dPack(4, 4, 3, padding=2, dilation=2, offset_groups=2).double()
    for parameter in unit.offset_conv.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    pack.load_state_dict(
        {"weight": unit.conv2.weight} | {f"offset_conv.{k}": v for k, v in unit.offset_conv.named_parameters()}
    )
    x = torch.randn(1, 4, 7, 9, dtype=torch.float64)
    offset, mask = unit.modulation(unit.offset_conv(x))
    assert torch.equal(unit.conv2(x, offset, mask), pack(x))
    assert unit.offset_conv.lr_mult == pack.offset_conv.lr_mult == 0.1


def test_zero_guides_make_the_plain_units():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 7, 9, dtype=torch.float64)
    pairs = (
        (Bottleneck(8, 2, dilation=2), Bottleneck(8, 2, dilation=2, offset_groups=2, modulated=True)),
        (
            InceptionUnit(8, 2, dilation=2),
            InceptionUnit(8, 2, dilation=2, offset_groups={("a", 2): 2, ("b", 3): 1}, modulated=True),
        ),
    )
    for plain, modulated in pairs:
        plain, modulated = plain.double(), modulated.double()
        weights = plain.state_dict()
        zeros = {
            name: torch.zeros_like(value) for name, value in modulated.state_dict().items() if "offset_conv" in name
        }
        assert zeros
        modulated.load_state_dict(weights | zeros)
        torch.testing.assert_close(modulated(x), plain(x), rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


def test_folded_network_with_masks_is_the_same_function():
    torch.manual_seed(0)
    network = ResNet(
        (1, 1, 1, 1), base_width=4, deformable=frozenset({(5, 0)}), offset_groups=2, modulated=True
    ).double()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    assert isinstance(network.stage5[0].conv2, ModulatedDeformConv2d)
    x = torch.randn(1, 3, 64, 80, dtype=torch.float64)
    with torch.no_grad():
        expected, found = network.eval()(x).stage5, fold_batch_norm(network)(x).stage5
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=FLOAT64_SAME_FUNCTION)
