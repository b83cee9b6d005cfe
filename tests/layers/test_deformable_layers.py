"""Deformable layers start as the convolution they replace, learn their offsets, and refuse what can't be."""

import pytest
import torch
from torch import nn

from dcn_tasks.errors import InputError
from torch_port import ops
from torch_port.layers import (
    DeformConv2d,
    DeformConv2dPack,
    DeformPSRoIPool,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
    PSRoIPool,
    RoIPool,
)

GEOMETRY = {"stride": 2, "padding": 2, "dilation": 2}
PACKS = [DeformConv2dPack, ModulatedDeformConv2dPack]
ROIS = torch.tensor([[0.0, 3, 5, 60, 70], [1, 20, 10, 90, 50]])


def image(channels=4):
    return torch.randn(2, channels, 9, 11, generator=torch.Generator().manual_seed(1))


def randomised(layer):
    """The layer with an offset convolution that is not zero any more."""
    torch.manual_seed(2)
    nn.init.normal_(layer.offset_conv.weight, std=0.1)
    nn.init.normal_(layer.offset_conv.bias)
    return layer


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("bias", [True, False])
def test_new_layer_is_the_convolution_it_replaces(pack, bias):
    convolution = nn.Conv2d(4, 6, 3, groups=2, bias=bias, **GEOMETRY)
    layer = pack(4, 6, 3, groups=2, offset_groups=2, bias=bias, **GEOMETRY)
    with torch.no_grad():
        for name, parameter in convolution.named_parameters():
            layer.get_parameter(name).copy_(parameter)
    torch.testing.assert_close(layer(image()), convolution(image()))


@pytest.mark.parametrize("pack", PACKS)
def test_offset_convolution_learns_from_the_start(pack):
    layer = pack(4, 6, 3, padding=1, offset_groups=2)
    layer(image()).square().sum().backward()
    assert layer.offset_conv.weight.grad.abs().max() > 0
    assert layer.offset_conv.bias.grad.abs().max() > 0


def test_pack_hands_its_predicted_offsets_to_the_operator():
    layer = randomised(DeformConv2dPack(4, 6, 3, offset_groups=2, **GEOMETRY))
    expected = ops.deform_conv2d(image(), layer.offset_conv(image()), layer.weight, None, 2, 2, 2, border="clamp")
    torch.testing.assert_close(layer(image()), expected, rtol=0, atol=0)


def test_modulated_pack_has_offsets_first_and_twice_the_sigmoid_as_mask():
    """G = 2 offset groups, K = 9 taps: channels 0..35 are offsets, 36..53 become masks."""
    layer = randomised(ModulatedDeformConv2dPack(4, 6, 3, offset_groups=2, **GEOMETRY))
    predicted = layer.offset_conv(image())
    assert predicted.shape[1] == 54
    mask = 2 / (1 + torch.exp(-predicted[:, 36:]))
    expected = ops.modulated_deform_conv2d(
        image(), predicted[:, :36], mask, layer.weight, None, 2, 2, 2, border="zeros"
    )
    torch.testing.assert_close(layer(image()), expected)


def test_offset_geometry_of_its_own():
    """The original's DeepLab: convolution padded and dilated by 2, its offset convolution by 1."""
    layer = DeformConv2dPack(4, 6, 3, padding=2, dilation=2, offset_geometry={"padding": 1, "dilation": 1})
    assert (layer.offset_conv.padding, layer.offset_conv.dilation) == ((1, 1), (1, 1))
    assert layer(image()).shape == (2, 6, 9, 11)


def test_learning_rate_multipliers_are_kept_on_the_offset_convolution():
    assert DeformConv2dPack(4, 6, 3).offset_conv.lr_mult == 1.0
    assert ModulatedDeformConv2dPack(4, 6, 3).offset_conv.lr_mult == 0.1
    assert DeformConv2dPack(4, 6, 3, offset_lr_mult=0.01).offset_conv.lr_mult == 0.01


def test_border_rules_are_the_operators_own_defaults():
    assert DeformConv2d(4, 6, 3).border == "clamp"
    assert ModulatedDeformConv2d(4, 6, 3).border == "zeros"
    assert DeformConv2d(4, 6, 3, border="zeros").border == "zeros"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"groups": 3}, "expected groups to divide 4 channels, got groups=3"),
        ({"groups": 4}, "expected groups to divide 6 channels, got groups=4"),
        ({"offset_groups": 3}, "expected offset_groups to divide 4 channels, got offset_groups=3"),
        ({"offset_groups": 0}, "expected offset_groups to divide 4 channels, got offset_groups=0"),
    ],
)
def test_group_counts_that_do_not_divide_are_refused(arguments, message):
    with pytest.raises(InputError, match=f"DeformConv2d: {message}"):
        DeformConv2d(4, 6, 3, **arguments)


def test_state_dict_names_are_a_convolutions():
    assert list(DeformConv2d(4, 6, 3, bias=True).state_dict()) == ["weight", "bias"]
    assert list(DeformConv2dPack(4, 6, 3).state_dict()) == ["weight", "offset_conv.weight", "offset_conv.bias"]


@pytest.mark.parametrize("rois", [ROIS, ROIS[:0]], ids=["two RoIs", "no RoIs"])
def test_roi_poolings_return_a_row_per_roi(rois):
    maps = image(2 * 9)
    grid = {"spatial_scale": 0.1, "pooled_size": 3}
    assert RoIPool(**grid)(maps, rois).shape == (len(rois), 18, 3, 3)
    assert PSRoIPool(2, **grid)(maps, rois).shape == (len(rois), 2, 3, 3)
    assert DeformPSRoIPool(2, group_size=3, **grid)(maps, rois).shape == (len(rois), 2, 3, 3)


def test_offsets_move_the_bins():
    """Maps that grow by 1 per column, scale 1: an offset of 1 in a RoI 10 wide, times 0.1, moves the mean by 1 px."""
    maps = torch.arange(40.0).expand(1, 1, 40, 40).contiguous()
    layer = DeformPSRoIPool(1, spatial_scale=1.0, group_size=1, pooled_size=1, sample_per_part=4, trans_std=0.1)
    rois = torch.tensor([[0.0, 10, 10, 19, 19]])
    x_by_one = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    moved = layer(maps, rois, x_by_one) - layer(maps, rois)
    assert moved.item() == pytest.approx(1.0)


@pytest.mark.parametrize("pack", PACKS)
def test_one_image_needs_no_batch_axis(pack):
    layer = randomised(pack(4, 6, 3, offset_groups=2, **GEOMETRY))
    assert torch.equal(layer(image()[1]), layer(image()[1:])[0])


def test_one_image_with_offsets_and_mask_from_outside_needs_no_batch_axis():
    offset, mask = torch.rand(2, 18, 5, 6, generator=torch.Generator().manual_seed(3)), torch.ones(2, 9, 5, 6)
    plain, modulated = DeformConv2d(4, 6, 3, **GEOMETRY), ModulatedDeformConv2d(4, 6, 3, **GEOMETRY)
    assert torch.equal(plain(image()[0], offset[0]), plain(image(), offset)[0])
    assert torch.equal(modulated(image()[0], offset[0], mask[0]), modulated(image(), offset, mask)[0])


@pytest.mark.parametrize("pack", PACKS)
def test_empty_batch_gives_an_empty_batch_and_zero_gradients(pack):
    layer = pack(4, 6, 3, padding=1)
    output = layer(image()[:0])
    assert output.shape == (0, 6, 9, 11)
    output.sum().backward()
    assert all((p.grad == 0).all() for p in layer.parameters())


def test_repr_names_what_the_layer_is_built_from():
    written = repr(ModulatedDeformConv2dPack(4, 6, 3, padding=1, groups=2, bias=True, mask_scale=1.0))
    assert written.startswith(
        "ModulatedDeformConv2dPack(\n  4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=2, "
        "offset_groups=1, bias=True, border='zeros', mask_scale=1\n  (offset_conv): RatedConv2d(4, 27, "
    )
    assert "bias=False, border='clamp'" in repr(DeformConv2d(4, 6, 3))


def test_mask_scale_is_the_factor_before_the_sigmoid():
    layers = [randomised(ModulatedDeformConv2dPack(4, 6, 3, mask_scale=scale)) for scale in (1.0, 2.0)]
    layers[1].load_state_dict(layers[0].state_dict())
    torch.testing.assert_close(layers[1](image()), 2 * layers[0](image()))
