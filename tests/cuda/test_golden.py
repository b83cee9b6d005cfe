"""Our operators against the recorded results of tests/cuda/golden.npz, on the CPU and, where there is one, on the GPU.

The CPU runs prove the file: a golden value that our CPU kernels (held against live MXNet elsewhere) did not reproduce
would be a wrong recording.
"""

import golden
import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION, GOLDEN_FLOAT32, LOW_PRECISION, PROPOSAL_PIXELS

CASES, ARRAYS = golden.load()
DEVICES = [pytest.param("cpu", id="cpu"), pytest.param("cuda", id="cuda", marks=pytest.mark.cuda)]
FORMATS = [
    pytest.param(torch.contiguous_format, id="nchw"),
    pytest.param(torch.channels_last, id="channels_last"),
]
SMOOTH = [name for name, case in CASES.items() if case.operator not in ("proposal", "nms")]


def scale_of(reference: np.ndarray) -> float:
    return float(np.abs(reference).max(initial=0.0))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("name", SMOOTH)
def test_float64_is_the_recorded_function(name, memory_format, device):
    case = CASES[name]
    found = golden.run(case, golden.part(ARRAYS, case, "input"), device=device, dtype=torch.float64,
                       memory_format=memory_format)  # fmt: skip
    expected = golden.part(ARRAYS, case, "float64")
    assert expected.keys() == found.keys()
    for what, reference in expected.items():
        difference = np.abs(found[what].cpu().numpy() - reference).max(initial=0.0)
        assert difference <= FLOAT64_SAME_FUNCTION * scale_of(reference), f"{what}: {difference}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("name", SMOOTH)
def test_float32_is_as_near_as_its_rounding(name, memory_format, device):
    case = CASES[name]
    found = golden.run(case, golden.part(ARRAYS, case, "input"), device=device, memory_format=memory_format)
    for what, reference in golden.part(ARRAYS, case, "float64").items():
        assert found[what].dtype == torch.float32 and found[what].device.type == device
        difference = np.abs(found[what].cpu().numpy() - reference).max(initial=0.0)
        assert difference <= GOLDEN_FLOAT32 * scale_of(reference), f"{what}: {difference}, scale {scale_of(reference)}"


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("name", SMOOTH)
def test_low_precision_is_as_near_as_its_rounding(name, memory_format, dtype):
    case = CASES[name]
    inputs = golden.rounded(golden.part(ARRAYS, case, "input"), dtype)
    exact = golden.run(case, inputs, dtype=torch.float64)  # the CPU kernels, which reproduce the file
    found = golden.run(case, inputs, device="cuda", dtype=dtype, memory_format=memory_format)
    for what, reference in exact.items():
        difference = float((found[what].cpu().double() - reference).abs().max())
        scale = float(reference.abs().max())
        assert difference <= LOW_PRECISION[str(dtype).removeprefix("torch.")] * scale, f"{what}: {difference}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["proposal_cxx", "proposal_python"])
def test_proposals_are_the_recorded_ones(name, device):
    case = CASES[name]
    found = golden.run(case, golden.part(ARRAYS, case, "input"), device=device)
    expected = golden.part(ARRAYS, case, "float32")
    count = len(expected["rois"])
    assert 0 < count <= len(found["rois"])
    np.testing.assert_allclose(found["rois"][:count].cpu().numpy(), expected["rois"], rtol=0, atol=PROPOSAL_PIXELS)
    np.testing.assert_array_equal(found["scores"][:count].cpu().numpy(), expected["scores"])
    if "num_valid" in expected:
        np.testing.assert_array_equal(found["num_valid"].cpu().numpy(), expected["num_valid"])


@pytest.mark.parametrize("device", DEVICES)
def test_suppression_keeps_the_recorded_boxes_in_order(device):
    case = CASES["nms"]
    found = golden.run(case, golden.part(ARRAYS, case, "input"), device=device)
    np.testing.assert_array_equal(found["keep"].cpu().numpy(), golden.part(ARRAYS, case, "float32")["keep"])


def test_every_operator_is_in_the_file():
    import torch_port.ops as ops

    functions = {name for name in ops.__all__ if callable(getattr(ops, name)) and not name.startswith("set_")}
    assert functions == {case.operator for case in CASES.values()}


def test_the_file_stays_small():
    assert golden.FILE.stat().st_size < 500_000
