"""State dicts of mmcv's, detectron2's and torchvision's layers give the outputs of those libraries.

What the layers there compute is written out here from their documented rules, on a float64 loop; torchvision's operator
itself is compared in tests/ops/test_torchvision_compat.py.
"""

import numpy as np
import pytest
import torch
from deform_conv_cases import Case
from reference import loops
from tolerances import FLOAT64_SAME_FUNCTION
from torch import Tensor, nn

from dcn_tasks.errors import InputError
from torch_port.layers import (
    BatchNorm,
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
    load_peer_state,
)

GEOMETRY = {"stride": 2, "padding": 2, "dilation": 2}
CASE = Case(channels=4, out_channels=6, height=7, width=8, stride=(2, 2), padding=(2, 2), dilation=(2, 2), groups=2,
            offset_groups=2)  # fmt: skip
SAMPLES = CASE.taps * CASE.offset_groups


def normal(*shape: int, seed: int = 0, std: float = 1.0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * std


IMAGE = normal(1, 4, 7, 8)
WEIGHT, BIAS = normal(6, 2, 3, 3, seed=1), normal(6, seed=2)


def predictor(numbers: int) -> dict[str, Tensor]:
    return {"weight": normal(numbers * SAMPLES, 4, 3, 3, seed=3, std=0.3), "bias": normal(numbers * SAMPLES, seed=4)}


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: t for name, t in state.items()}


def their_output(numbers: int, bias: Tensor | None) -> Tensor:
    """offset and mask from one convolution in three chunks: first two offsets, last the mask's logits."""
    predicted = nn.functional.conv2d(IMAGE, *predictor(numbers).values(), **GEOMETRY)
    chunks = predicted.chunk(numbers, 1)
    offset = torch.cat(chunks[:2], 1)
    mask = chunks[2].sigmoid() if numbers == 3 else torch.ones_like(chunks[0])
    arrays = {"input": IMAGE, "offset": offset, "mask": mask, "weight": WEIGHT, "bias": bias}
    arrays = {name: None if t is None else t.numpy() for name, t in arrays.items()}
    head = np.zeros((1, 6, *CASE.out_size))
    return torch.tensor(loops(CASE, {**arrays, "head": head}, "zeros", True)["output"])


def new(kind: type, **changed: object) -> nn.Module:
    arguments = {"groups": 2, "offset_groups": 2, "border": "zeros", **GEOMETRY, **changed}
    return kind(4, 6, 3, **arguments).double()


def assert_same(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


@pytest.mark.parametrize("key", ["conv2.conv_offset.", "conv2_offset."], ids=["mmcv", "mmcv before version 2"])
def test_mmcvs_pack(key: str):
    layer = new(DeformConv2dPack)
    state = {"conv1.weight": BIAS, "conv2.weight": WEIGHT, **prefixed(key, predictor(2))}
    load_peer_state(layer, state, peer="mmcv", prefix="conv2.")
    assert_same(layer(IMAGE), their_output(2, None))


@pytest.mark.parametrize("mask_scale", [2.0, 1.0])
def test_mmcvs_modulated_pack_alone(mask_scale: float):
    layer = new(ModulatedDeformConv2dPack, bias=True, mask_scale=mask_scale)
    state = {"weight": WEIGHT, "bias": BIAS, **prefixed("conv_offset.", predictor(3))}
    load_peer_state(layer, state, peer="mmcv")
    assert_same(layer(IMAGE), their_output(3, BIAS))
    assert torch.equal(layer.weight * mask_scale, WEIGHT)


@pytest.mark.parametrize("numbers, kind", [(2, DeformConv2dPack), (3, ModulatedDeformConv2dPack)])
def test_detectron2s_block_with_its_normalisation(numbers: int, kind: type):
    layer, norm = new(kind), BatchNorm(6).double()
    moments = {"weight": normal(6, seed=5), "bias": normal(6, seed=6), "running_mean": normal(6, seed=7),
               "running_var": normal(6, seed=8).square()}  # fmt: skip
    state = {"res5.0.conv2.weight": WEIGHT, **prefixed("res5.0.conv2.norm.", moments),
             **prefixed("res5.0.conv2_offset.", predictor(numbers)), "res5.0.conv3.weight": BIAS}  # fmt: skip
    load_peer_state(layer, state, peer="detectron2", prefix="res5.0.conv2.", norm=norm)
    assert_same(layer(IMAGE), their_output(numbers, None))
    assert all(torch.equal(norm.state_dict()[name], t) for name, t in moments.items())


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_torchvisions_layer(masked: bool):
    layer = new(ModulatedDeformConv2d if masked else DeformConv2d, bias=True)
    load_peer_state(layer, {"weight": WEIGHT, "bias": BIAS}, peer="torchvision")
    predicted = nn.functional.conv2d(IMAGE, *predictor(3).values(), **GEOMETRY)
    offset, mask = predicted.split((2 * SAMPLES, SAMPLES), 1)
    got = layer(IMAGE, offset, mask.sigmoid()) if masked else layer(IMAGE, offset)
    if masked:
        assert_same(got, their_output(3, BIAS))
    assert torch.equal(layer.weight, WEIGHT) and torch.equal(layer.bias, BIAS)


PACKED = {"weight": WEIGHT, **prefixed("conv_offset.", predictor(2))}
WRONG = {
    "bias_left_over": (PACKED | {"bias": BIAS}, {}, r"missing \[\], left over \['bias'\].*a bias where theirs has one"),
    "bias_missing": (PACKED, {"layer": {"bias": True}}, r"missing \['bias'\], left over \[\]"),
    "predictor_missing": ({"weight": WEIGHT}, {}, r"missing \['conv_offset.bias', 'conv_offset.weight'\]"),
    "norm_left_over": (PACKED | {"norm.weight": BIAS}, {}, r"left over \['norm.weight'\].*hand in norm="),
    "shape": (PACKED | {"weight": WEIGHT[:4]}, {}, r"weight: expected \[6, 2, 3, 3\], as DeformConv2dPack.weight has, "
                                                   r"got \[4, 2, 3, 3\]: do channels"),
    "border": (PACKED, {"layer": {"border": "clamp"}}, 'with border="zeros", the rule of mmcv, got \'clamp\''),
    "peer": (PACKED, {"peer": "paddle"}, r"peer: expected one of \['detectron2', 'mmcv', 'torchvision'\], got 'paddle'"),
    "pack_of_a_layer_without": (PACKED, {"peer": "torchvision"}, "predicts its offsets, torchvision's layer does not"),
    "prefix": (PACKED, {"prefix": "conv2."}, r"missing \['conv2.conv_offset.bias', .*\], left over \[\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_state_that_does_not_fit_is_refused_in_words_and_changes_nothing(name: str):
    state, changed, message = WRONG[name]
    layer = new(DeformConv2dPack, **changed.get("layer", {}))
    before = {key: t.clone() for key, t in layer.state_dict().items()}
    arguments = {"peer": "mmcv", **{key: value for key, value in changed.items() if key != "layer"}}
    with pytest.raises(InputError, match="load_peer_state: .*" + message):
        load_peer_state(layer, state, **arguments)
    assert all(torch.equal(t, before[key]) for key, t in layer.state_dict().items())
