"""torchvision's names in place of torchvision: recorded results of 0.28, and torchvision itself where it loads."""

import inspect

import numpy as np
import pytest
import torch
from record_torchvision import FOLDER, RECORDED, run
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.recording import Recording
from torch_port.ops.torchvision_compat import DeformConv2d, deform_conv2d

WITH_MASK = pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])


@pytest.fixture
def torchvision():
    try:
        import torchvision
    except Exception as error:  # a torchvision of another PyTorch fails in many ways
        pytest.skip(f"torchvision does not load here ({error}): only its recorded results are compared")
    return torchvision


def at_minus_one(name: str) -> np.ndarray:
    """Where an offset puts its axis at exactly -1."""
    case = RECORDED[name]
    return case.bases() + case.arrays()["offset"].astype(np.float64) == -1


def assert_agrees(name: str, got: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert got.keys() == theirs.keys()
    for tensor, expected in theirs.items():
        difference = np.abs(got[tensor] - expected)
        if tensor == "offset":
            difference = np.where(at_minus_one(name), 0, difference)
        assert np.abs(expected).max() > 0
        assert difference.max() <= FLOAT64_SAME_FUNCTION * np.abs(expected).max(), tensor


@WITH_MASK
@pytest.mark.parametrize("name", RECORDED)
def test_agrees_with_what_torchvision_0_28_computed(name: str, masked: bool):
    recording, prefix = Recording(FOLDER), f"{name}/{'masked' if masked else 'plain'}/"
    assert recording.recorded_by.startswith("torchvision 0.28.0")
    theirs = {key.removeprefix(prefix): recording[key] for key in recording if key.startswith(prefix)}
    assert_agrees(name, run(deform_conv2d, RECORDED[name], masked), theirs)


@WITH_MASK
@pytest.mark.parametrize("name", RECORDED)
def test_agrees_with_torchvision_itself(name: str, masked: bool, torchvision):
    case = RECORDED[name]
    assert_agrees(name, run(deform_conv2d, case, masked), run(torchvision.ops.deform_conv2d, case, masked))


def test_offset_gradient_at_exactly_minus_one_is_zero_and_torchvisions_is_not():
    there = at_minus_one("edges")
    ours = run(deform_conv2d, RECORDED["edges"], False)["offset"]
    assert there.any() and (ours[there] == 0).all()
    assert (Recording(FOLDER)["edges/plain/offset"][there] != 0).any()


def test_signatures_are_torchvisions_own(torchvision):
    for ours, theirs in ((deform_conv2d, torchvision.ops.deform_conv2d), (DeformConv2d, torchvision.ops.DeformConv2d)):
        described = [
            [(p.name, p.default, p.kind) for p in inspect.signature(f).parameters.values()] for f in (ours, theirs)
        ]
        assert described[0] == described[1]


def test_module_loads_torchvisions_state_and_repeats_its_output(torchvision):
    torch.manual_seed(0)
    arguments = dict(kernel_size=(3, 2), stride=(2, 1), padding=1, groups=2)
    theirs = torchvision.ops.DeformConv2d(4, 6, **arguments).double()
    ours = DeformConv2d(4, 6, **arguments).double()
    ours.load_state_dict(theirs.state_dict())
    x, offset, mask = (torch.randn(2, c, *s, dtype=torch.float64) for c, s in ((4, (7, 8)), (12, (4, 9)), (6, (4, 9))))
    for given in ((x, offset), (x, offset, mask)):
        torch.testing.assert_close(ours(*given), theirs(*given), rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)
    assert repr(ours) == repr(theirs)


def test_module_starts_and_reads_like_torch_nn_conv2d():
    torch.manual_seed(3)
    layer = DeformConv2d(4, 6, 3, padding=1, dilation=2, groups=2, bias=False)
    assert repr(layer) == (
        "DeformConv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(2, 2), groups=2, bias=False)"
    )
    torch.manual_seed(3)
    dense = torch.nn.Conv2d(4, 6, 3, groups=2, bias=False)
    assert torch.equal(layer.weight, dense.weight)
    assert list(DeformConv2d(4, 6, 3).state_dict()) == ["weight", "bias"]
    with pytest.raises(ValueError, match="expected groups to divide in_channels, got in_channels=4, groups=3"):
        DeformConv2d(4, 6, 3, groups=3)


def test_one_image_needs_no_batch_axis():
    arrays = RECORDED["groups"].arrays()
    x, offset, mask, weight = (torch.tensor(arrays[n]) for n in ("input", "offset", "mask", "weight"))
    geometry = RECORDED["groups"].geometry
    whole = deform_conv2d(x, offset, weight, None, *geometry, mask)
    assert torch.equal(deform_conv2d(x[0], offset[0], weight, None, *geometry, mask[0]), whole[0])
    assert torch.equal(
        deform_conv2d(x[0], offset[0], weight, padding=1), deform_conv2d(x, offset, weight, padding=1)[0]
    )


def test_empty_batch():
    arrays = RECORDED["groups"].arrays()
    x, offset, weight = (torch.tensor(arrays[n]) for n in ("input", "offset", "weight"))
    assert deform_conv2d(x[:0], offset[:0], weight, padding=1).shape == (0, 6, 4, 5)
