"""A small call of every CUDA kernel, for compute-sanitizer to watch: compute-sanitizer python benchmarks/gpu_sanitize.py

With the argument `cpu` the same calls on the CPU, to see that the script runs.
"""

import sys

import torch

from torch_port.ops import deform_psroi_pool, modulated_deform_conv2d, nms, proposal, psroi_pool, roi_pool

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cuda"


def convolutions() -> None:
    for dtype, tf32 in ((torch.float32, False), (torch.float32, True), (torch.bfloat16, False), (torch.float64, False)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for channels, out_channels in ((64, 136), (40, 272)):  # both tile widths; chunks that are not full
            input = torch.randn(2, channels, 7, 9, device=DEVICE, dtype=dtype, requires_grad=True)
            offset = torch.randn(2, 36, 7, 9, device=DEVICE, dtype=dtype, requires_grad=True)
            mask = torch.rand(2, 18, 7, 9, device=DEVICE, dtype=dtype, requires_grad=True)
            weight = torch.randn(out_channels, channels, 3, 3, device=DEVICE, dtype=dtype, requires_grad=True)
            for deterministic in (False, True):
                torch.use_deterministic_algorithms(deterministic)
                modulated_deform_conv2d(input, offset, mask, weight, padding=1).sum().backward()
            torch.use_deterministic_algorithms(False)


def pooling() -> None:
    maps = torch.randn(2, 36, 6, 5, device=DEVICE, requires_grad=True)
    rois = torch.tensor([[0, 3.0, 5.0, 61.0, 44.0], [1, -30.0, -20.0, 25.0, 18.0]], device=DEVICE)
    offset = torch.randn(2, 4, 3, 3, device=DEVICE, requires_grad=True)
    grid = dict(spatial_scale=1 / 16, output_dim=4, pooled_size=3)
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic)
        deform_psroi_pool(maps, rois, offset, group_size=3, sample_per_part=2, trans_std=0.1, **grid).sum().backward()
        psroi_pool(maps, rois, **grid).sum().backward()
        roi_pool(maps, rois, spatial_scale=1 / 16, pooled_size=3).sum().backward()
    torch.use_deterministic_algorithms(False)


def boxes() -> None:
    corner = 60 * torch.rand(200, 2, device=DEVICE)
    nms(torch.cat([corner, corner + 20], 1), torch.rand(200, device=DEVICE), 0.5)
    for variant in ("python", "cxx"):
        proposal(torch.rand(1, 6, 5, 7, device=DEVICE), torch.randn(1, 12, 5, 7, device=DEVICE),
                 torch.tensor([[80.0, 112.0, 1.0]], device=DEVICE), feature_stride=16, scales=(4.0,),
                 ratios=(0.5, 1.0, 2.0), pre_nms_top_n=90, post_nms_top_n=20, nms_thresh=0.7, min_size=4,
                 variant=variant)  # fmt: skip


if __name__ == "__main__":
    for part in (convolutions, pooling, boxes):
        part()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    print("every kernel ran")
