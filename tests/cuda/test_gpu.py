"""What only a GPU can show: fused against reference kernels, determinism, streams, formats, low precision, sizes.

Run by benchmarks/gpu.sh; without a GPU what can runs on the CPU, the rest is skipped with that reason.
"""

import pytest
import torch
from gpu_cases import DTYPES, EACH_DEVICE, SHAPES, fused, make, on_cpu64
from tolerances import FUSED_FLOAT32, LOW_PRECISION, TF32

from torch_port.ops import deform_conv2d, deform_psroi_pool, modulated_deform_conv2d, nms, proposal


@EACH_DEVICE
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("border", ["clamp", "zeros"])
@pytest.mark.parametrize("name", SHAPES)
def test_fused_and_reference_forward_are_the_cpu_operator(name, border, dtype, channels_last, device):
    tensors, geometry = make(name, dtype, channels_last, device)
    exact = modulated_deform_conv2d(**on_cpu64(tensors), **geometry, border=border)
    allowed = FUSED_FLOAT32 if dtype == torch.float32 else LOW_PRECISION[str(dtype).removeprefix("torch.")]
    for use_fused in (True, False):
        with fused(use_fused, device):
            found = modulated_deform_conv2d(**tensors, **geometry, border=border)
        assert found.dtype == dtype
        assert found.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        error = (found.cpu().double() - exact).abs().max() / exact.abs().max()
        assert error <= allowed, f"fused {use_fused}: {error}"


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["partial_tiles", "two_channel_tiles", "channels_that_do_not_fill_chunks"])
def test_tf32_rounds_factors_and_only_where_it_is_allowed(name):
    tensors, geometry = make(name, torch.float32)
    exact = modulated_deform_conv2d(**on_cpu64(tensors), **geometry)
    before = torch.backends.cuda.matmul.fp32_precision
    found = {}
    try:
        for precision in ("ieee", "tf32"):
            torch.backends.cuda.matmul.fp32_precision = precision
            output = modulated_deform_conv2d(**tensors, **geometry)
            found[precision] = float((output.cpu().double() - exact).abs().max() / exact.abs().max())
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    assert found["ieee"] <= FUSED_FLOAT32
    assert FUSED_FLOAT32 < found["tf32"] <= TF32, "tensor cores were not used" if found["tf32"] < TF32 else "too coarse"


@pytest.mark.cuda
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


@EACH_DEVICE
def test_not_finite_offsets_sample_nothing(device):
    tensors, geometry = make("one_chunk", torch.float32, device=device)
    tensors["input"].fill_(float("inf"))
    tensors["offset"].fill_(float("nan"))
    output = deform_conv2d(tensors["input"], tensors["offset"], tensors["weight"], tensors["bias"], **geometry)
    assert torch.equal(output, tensors["bias"][:, None, None].expand_as(output))


@EACH_DEVICE
def test_empty_batches_and_no_rois_give_empty_results(device):
    tensors, geometry = make("one_chunk", torch.float32, device=device)
    empty = {name: t[:0] if name in ("input", "offset", "mask") else t for name, t in tensors.items()}
    assert modulated_deform_conv2d(**empty, **geometry).shape[0] == 0
    maps, rois = torch.randn(1, 9, 4, 4, device=device), torch.zeros(0, 5, device=device)
    pooled = deform_psroi_pool(maps, rois, spatial_scale=1.0, output_dim=1, group_size=3, pooled_size=3)
    assert pooled.shape == (0, 1, 3, 3)
    assert nms(torch.zeros(0, 4, device=device), torch.zeros(0, device=device), 0.5).shape == (0,)


@EACH_DEVICE
@pytest.mark.parametrize("variant", ["python", "cxx"])
def test_proposals_of_a_large_map_are_the_cpus(variant, device):
    generator = torch.Generator().manual_seed(1)
    prob = torch.rand(2, 24, 38, 63, generator=generator, dtype=torch.float64)
    delta = 0.3 * torch.randn(2, 48, 38, 63, generator=generator, dtype=torch.float64)
    info = torch.tensor([[600.0, 1000.0, 1.6], [590.0, 900.0, 1.5]], dtype=torch.float64)
    arguments = dict(feature_stride=16, scales=(4.0, 8.0, 16.0, 32.0), ratios=(0.5, 1.0, 2.0), pre_nms_top_n=6000,
                     post_nms_top_n=300, nms_thresh=0.7, min_size=0, variant=variant)  # fmt: skip
    expected = proposal(prob, delta, info, **arguments)
    found = proposal(prob.to(device), delta.to(device), info.to(device), **arguments)
    assert found[2].cpu().tolist() == expected[2].tolist()
    for image, count in enumerate(expected[2].tolist()):
        rows = slice(image * 300, image * 300 + count)
        torch.testing.assert_close(found[0].cpu()[rows], expected[0][rows], rtol=0, atol=1e-9)
