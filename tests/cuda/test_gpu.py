"""What only a GPU can show: fused against reference kernels, determinism, streams, formats, low precision, sizes.

Run by benchmarks/gpu.sh; on a machine without a GPU every test here is skipped with that reason.
"""

from contextlib import contextmanager

import pytest
import torch
from tolerances import FUSED_FLOAT32, LOW_PRECISION

from torch_port.ops import deform_conv2d, deform_psroi_pool, modulated_deform_conv2d, nms, proposal, roi_pool

pytestmark = pytest.mark.cuda

SHAPES = {  # N, C, H, W, O, kernel, stride, padding, dilation, groups, G
    "one_chunk": (1, 32, 9, 10, 16, 3, 1, 1, 1, 1, 1),
    "partial_tiles": (2, 64, 13, 11, 200, 3, 1, 2, 2, 1, 2),
    "two_channel_tiles": (1, 128, 8, 9, 520, 1, 1, 0, 1, 1, 4),
    "stride_2": (2, 64, 15, 17, 96, 3, 2, 1, 1, 1, 1),
    "weight_groups": (1, 128, 9, 9, 64, 3, 1, 1, 1, 2, 2),
    "does_not_fit_tiles": (2, 12, 9, 7, 10, 3, 1, 1, 1, 2, 3),
}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@contextmanager
def fused(allowed: bool):
    before = torch.ops.dcn.set_cuda_fused(allowed)
    try:
        yield
    finally:
        torch.ops.dcn.set_cuda_fused(before)


def make(name: str, dtype: torch.dtype, channels_last: bool = False) -> tuple[dict, dict]:
    n, c, h, w, o, k, stride, pad, dilation, groups, offset_groups = SHAPES[name]
    generator = torch.Generator().manual_seed(3)
    out = [(size + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for size in (h, w)]

    def normal(*shape, scale=1.0):
        return (scale * torch.randn(shape, generator=generator)).to(dtype).cuda()

    tensors = {
        "input": normal(n, c, h, w),
        "offset": normal(n, 2 * offset_groups * k * k, *out, scale=2),
        "mask": normal(n, offset_groups * k * k, *out),
        "weight": normal(o, c // groups, k, k, scale=0.1),
        "bias": normal(o),
    }
    if channels_last:
        tensors["input"] = tensors["input"].contiguous(memory_format=torch.channels_last)
    return tensors, {"stride": stride, "padding": pad, "dilation": dilation}


def on_cpu64(tensors: dict) -> dict:
    return {name: t.detach().cpu().double() for name, t in tensors.items()}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("border", ["clamp", "zeros"])
@pytest.mark.parametrize("name", SHAPES)
def test_fused_and_reference_forward_are_the_cpu_operator(name, border, dtype, channels_last):
    tensors, geometry = make(name, dtype, channels_last)
    exact = modulated_deform_conv2d(**on_cpu64(tensors), **geometry, border=border)
    allowed = FUSED_FLOAT32 if dtype == torch.float32 else LOW_PRECISION[str(dtype).removeprefix("torch.")]
    for use_fused in (True, False):
        with fused(use_fused):
            found = modulated_deform_conv2d(**tensors, **geometry, border=border)
        assert found.dtype == dtype
        assert found.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        error = (found.cpu().double() - exact).abs().max() / exact.abs().max()
        assert error <= allowed, f"fused {use_fused}: {error}"


def gradients(tensors: dict, geometry: dict) -> dict[str, torch.Tensor]:
    leaves = {name: t.detach().clone().requires_grad_() for name, t in tensors.items()}
    output = modulated_deform_conv2d(**leaves, **geometry)
    head = torch.sin(torch.arange(output.numel(), device=output.device, dtype=torch.float64)).to(output.dtype)
    made = torch.autograd.grad(output, list(leaves.values()), head.reshape(output.shape))
    return dict(zip(leaves, made, strict=True))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", ["partial_tiles", "does_not_fit_tiles"])
def test_gradients_are_the_cpu_operators(name, deterministic):
    tensors, geometry = make(name, torch.float64)
    torch.use_deterministic_algorithms(deterministic)
    try:
        found = gradients(tensors, geometry)
    finally:
        torch.use_deterministic_algorithms(False)
    for what, exact in gradients(on_cpu64(tensors), geometry).items():
        torch.testing.assert_close(found[what].cpu(), exact, rtol=0, atol=1e-11 * float(exact.abs().max()))


def test_deterministic_gradients_repeat_bit_for_bit():
    tensors, geometry = make("partial_tiles", torch.float32)
    maps = torch.randn(2, 36, 12, 12, device="cuda", requires_grad=True)
    rois = torch.tensor([[i % 2, 4.0 * i, 3.0 * i, 90 + i, 80 + 2 * i] for i in range(64)], device="cuda")
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(3):
            first, second = gradients(tensors, geometry), gradients(tensors, geometry)
            assert all(torch.equal(first[what], second[what]) for what in first)
            pooled = deform_psroi_pool(maps, rois, spatial_scale=1 / 8, output_dim=4, group_size=3, pooled_size=3,
                                       sample_per_part=4)  # fmt: skip
            highest = roi_pool(maps, rois, spatial_scale=1 / 8, pooled_size=3)
            for output in (pooled, highest):
                one, two = (torch.autograd.grad(output.sum(), maps, retain_graph=True)[0] for _ in range(2))
                assert torch.equal(one, two)
    finally:
        torch.use_deterministic_algorithms(False)


def test_kernels_run_on_the_current_stream_and_inside_a_graph():
    tensors, geometry = make("partial_tiles", torch.bfloat16)
    expected = modulated_deform_conv2d(**tensors, **geometry)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        modulated_deform_conv2d(**tensors, **geometry)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = modulated_deform_conv2d(**tensors, **geometry)
    output.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(output, expected)


def test_not_finite_offsets_sample_nothing():
    tensors, geometry = make("one_chunk", torch.float32)
    tensors["input"].fill_(float("inf"))
    tensors["offset"].fill_(float("nan"))
    output = deform_conv2d(tensors["input"], tensors["offset"], tensors["weight"], tensors["bias"], **geometry)
    assert torch.equal(output, tensors["bias"][:, None, None].expand_as(output))


def test_empty_batches_and_no_rois_give_empty_results():
    tensors, geometry = make("one_chunk", torch.float32)
    empty = {name: t[:0] if name in ("input", "offset", "mask") else t for name, t in tensors.items()}
    assert modulated_deform_conv2d(**empty, **geometry).shape[0] == 0
    maps, rois = torch.randn(1, 9, 4, 4, device="cuda"), torch.zeros(0, 5, device="cuda")
    pooled = deform_psroi_pool(maps, rois, spatial_scale=1.0, output_dim=1, group_size=3, pooled_size=3)
    assert pooled.shape == (0, 1, 3, 3)
    assert nms(torch.zeros(0, 4, device="cuda"), torch.zeros(0, device="cuda"), 0.5).shape == (0,)


@pytest.mark.parametrize("variant", ["python", "cxx"])
def test_proposals_of_a_large_map_are_the_cpus(variant):
    generator = torch.Generator().manual_seed(1)
    prob = torch.rand(2, 24, 38, 63, generator=generator, dtype=torch.float64)
    delta = 0.3 * torch.randn(2, 48, 38, 63, generator=generator, dtype=torch.float64)
    info = torch.tensor([[600.0, 1000.0, 1.6], [590.0, 900.0, 1.5]], dtype=torch.float64)
    arguments = dict(feature_stride=16, scales=(4.0, 8.0, 16.0, 32.0), ratios=(0.5, 1.0, 2.0), pre_nms_top_n=6000,
                     post_nms_top_n=300, nms_thresh=0.7, min_size=0, variant=variant)  # fmt: skip
    expected = proposal(prob, delta, info, **arguments)
    found = proposal(prob.cuda(), delta.cuda(), info.cuda(), **arguments)
    assert found[2].cpu().tolist() == expected[2].tolist()
    for image, count in enumerate(expected[2].tolist()):
        rows = slice(image * 300, image * 300 + count)
        torch.testing.assert_close(found[0].cpu()[rows], expected[0][rows], rtol=0, atol=1e-9)
