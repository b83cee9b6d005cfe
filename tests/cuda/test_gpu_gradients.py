"""Backward on a GPU: every precision, fused and plain, deterministic and not, alone and together, inside a CUDA graph.

Run by benchmarks/gpu.sh; without a GPU what can runs on the CPU, the rest is skipped with that reason.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from gpu_cases import DTYPES, EACH_DEVICE, SHAPES, fused, make, on_cpu64
from tolerances import FUSED_FLOAT32, LOW_PRECISION, TF32

from torch_port.ops import deform_psroi_pool, modulated_deform_conv2d, roi_pool

LEAVES = ("input", "offset", "mask", "weight", "bias")


@contextmanager
def settings(*, deterministic: bool = False, precision: str = "ieee") -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cuda.matmul.fp32_precision
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cuda.matmul.fp32_precision = precision
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cuda.matmul.fp32_precision = before[1]


def gradients(tensors: dict, geometry: dict, wanted: tuple[str, ...] = LEAVES, border: str = "zeros") -> dict:
    leaves = {name: t.detach().clone().requires_grad_(name in wanted) for name, t in tensors.items()}
    output = modulated_deform_conv2d(**leaves, **geometry, border=border)
    head = torch.sin(torch.arange(output.numel(), device=output.device, dtype=torch.float64)).to(output.dtype)
    made = torch.autograd.grad(output, [leaves[name] for name in wanted], head.reshape(output.shape))
    return dict(zip(wanted, made, strict=True))


def exact_gradients(tensors: dict, geometry: dict, border: str) -> dict:
    """In float64 on the CPU, for the head that a run in the tensors' own type sees."""
    leaves = {name: t.requires_grad_() for name, t in on_cpu64(tensors).items()}
    output = modulated_deform_conv2d(**leaves, **geometry, border=border)
    head = torch.sin(torch.arange(output.numel(), dtype=torch.float64)).to(tensors["input"].dtype).double()
    made = torch.autograd.grad(output, list(leaves.values()), head.reshape(output.shape))
    return dict(zip(leaves, made, strict=True))


def assert_near(found: dict, exact: dict, allowed: float) -> None:
    for what, gradient in found.items():
        error = float((gradient.cpu().double() - exact[what]).abs().max() / exact[what].abs().max())
        assert error <= allowed, f"{what}: {error}"


@EACH_DEVICE
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("border", ["clamp", "zeros"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHAPES)
def test_fused_and_reference_gradients_are_the_cpu_operators(name, dtype, border, deterministic, device):
    tensors, geometry = make(name, dtype, border == "zeros", device)
    exact = exact_gradients(tensors, geometry, border)
    allowed = FUSED_FLOAT32 if dtype == torch.float32 else LOW_PRECISION[str(dtype).removeprefix("torch.")]
    for use_fused in (True, False):
        with fused(use_fused, device), settings(deterministic=deterministic):
            assert_near(gradients(tensors, geometry, border=border), exact, allowed)


@EACH_DEVICE
@pytest.mark.parametrize("name", ["partial_tiles", "two_channel_tiles", "groups_that_cut_across_each_other"])
def test_tf32_gradients_round_their_factors(name, device):
    tensors, geometry = make(name, torch.float32, device=device)
    with settings(precision="tf32"):
        assert_near(gradients(tensors, geometry), exact_gradients(tensors, geometry, "zeros"), TF32)


@EACH_DEVICE
@pytest.mark.parametrize("deterministic", [False, True])
def test_float64_gradients_are_the_cpu_operators(deterministic, device):
    tensors, geometry = make("does_not_fit_tiles", torch.float64, device=device)
    with settings(deterministic=deterministic):
        assert_near(gradients(tensors, geometry), exact_gradients(tensors, geometry, "zeros"), 1e-11)


@EACH_DEVICE
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("alone", LEAVES)
def test_a_gradient_alone_is_the_one_among_all(alone, dtype, device):
    tensors, geometry = make("partial_tiles", dtype, device=device)
    with settings(deterministic=True):
        together, single = gradients(tensors, geometry), gradients(tensors, geometry, (alone,))
    assert torch.equal(single[alone], together[alone])


@EACH_DEVICE
@pytest.mark.parametrize("dtype", DTYPES)
def test_deterministic_gradients_repeat_bit_for_bit(dtype, device):
    tensors, geometry = make("partial_tiles", dtype, device=device)
    pooled_type = torch.float32 if device == "cpu" else dtype  # the RoI poolings of the CPU take no less
    maps = torch.randn(2, 36, 12, 12, device=device, dtype=pooled_type, requires_grad=True)
    rois = torch.tensor([[i % 2, 4.0 * i, 3.0 * i, 90 + i, 80 + 2 * i] for i in range(64)], device=device)
    with settings(deterministic=True):
        for _ in range(3):
            first, second = gradients(tensors, geometry), gradients(tensors, geometry)
            assert all(torch.equal(first[what], second[what]) for what in first)
            pooled = deform_psroi_pool(maps, rois, spatial_scale=1 / 8, output_dim=4, group_size=3, pooled_size=3,
                                       sample_per_part=4)  # fmt: skip
            highest = roi_pool(maps, rois, spatial_scale=1 / 8, pooled_size=3)
            for output in (pooled, highest):
                one, two = (torch.autograd.grad(output.sum(), maps, retain_graph=True)[0] for _ in range(2))
                assert torch.equal(one, two)


@EACH_DEVICE
def test_deterministic_gradients_keep_what_is_not_finite(device):
    tensors, geometry = make("partial_tiles", torch.float32, device=device)
    tensors["weight"][3, 5, 1, 1] = float("inf")
    with settings(deterministic=True):
        ordered = gradients(tensors, geometry, ("input",))["input"]
    free = gradients(tensors, geometry, ("input",))["input"]
    assert torch.equal(torch.isfinite(ordered), torch.isfinite(free))
    torch.testing.assert_close(ordered, free, equal_nan=True, rtol=1e-4, atol=1e-4)
    assert not bool(torch.isfinite(ordered).all()) and bool(torch.isfinite(ordered).any())


@EACH_DEVICE
def test_samples_that_are_not_finite_get_no_gradient(device):
    tensors, geometry = make("one_chunk", torch.float32, device=device)
    tensors["offset"].fill_(float("nan"))
    tensors["mask"].fill_(float("inf"))
    for what, gradient in gradients(tensors, geometry, ("input", "offset", "mask", "weight")).items():
        assert float(gradient.abs().max()) == 0.0, what


@pytest.mark.cuda
@pytest.mark.parametrize("deterministic", [False, True])
def test_backward_runs_inside_a_graph(deterministic):
    tensors, geometry = make("partial_tiles", torch.bfloat16)
    with settings(deterministic=deterministic):
        expected = gradients(tensors, geometry)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = gradients(tensors, geometry)
        for gradient in captured.values():
            gradient.zero_()
        graph.replay()
        torch.cuda.synchronize()
    for what, gradient in captured.items():
        torch.testing.assert_close(gradient, expected[what], rtol=2e-2, atol=2e-2 * float(expected[what].abs().max()))


@EACH_DEVICE
@pytest.mark.parametrize("classes", [1, 4, None])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
def test_fused_and_plain_deform_psroi_pool_agree(dtype, classes, device):
    if device == "cpu" and dtype.itemsize == 2:
        dtype = torch.float32
    generator = torch.Generator().manual_seed(5)
    maps = torch.randn(2, 36, 9, 11, generator=generator).to(device, dtype).requires_grad_()
    rois = torch.tensor([[i % 2, 3.0 * i - 9, 2.0 * i - 7, 60 + 3 * i, 50 + 2 * i] for i in range(20)], device=device)
    rois = rois.double() if dtype == torch.float64 else rois
    offset = None if classes is None else torch.randn(20, 2 * classes, 3, 3, generator=generator).to(device, rois.dtype)
    leaves = [maps] if offset is None else [maps, offset.requires_grad_()]
    found = {}
    for use_fused in (True, False):
        with fused(use_fused, device):
            pooled = deform_psroi_pool(maps, rois, offset, spatial_scale=1 / 8, output_dim=4, group_size=3,
                                       pooled_size=3, sample_per_part=4, trans_std=0.2)  # fmt: skip
            found[use_fused] = [pooled.detach(), *torch.autograd.grad(pooled, leaves, torch.cos(pooled.detach()))]
    exact = 1e-12 if dtype == torch.float64 else 1e-5
    allowed = LOW_PRECISION.get(str(dtype).removeprefix("torch."), exact)
    for one, other in zip(found[True], found[False], strict=True):
        assert float((one - other).abs().max()) <= allowed * float(other.abs().max())
