"""Where deformable layers sample: for counting, recording and drawing; the operators have their own arithmetic."""

import torch
from torch import Tensor

from torch_port.layers import DeformConv2d, DeformPSRoIPool, ModulatedDeformConv2d


def conv_positions(module: DeformConv2d | ModulatedDeformConv2d, offset: Tensor) -> Tensor:
    """[N, G, K, 2, OH, OW] sampling positions in input pixels, y then x."""
    n, _, out_h, out_w = offset.shape
    axes = []
    for axis, length in enumerate((out_h, out_w)):
        tap = torch.arange(module.kernel_size[axis]) * module.dilation[axis]
        start = torch.arange(length) * module.stride[axis] - module.padding[axis]
        axes.append((tap[:, None] + start).to(offset))
    (kernel_h, kernel_w) = module.kernel_size
    y = axes[0][:, None, :, None].expand(kernel_h, kernel_w, out_h, out_w)
    x = axes[1][None, :, None, :].expand(kernel_h, kernel_w, out_h, out_w)
    base = torch.stack((y, x), dim=2).flatten(0, 1)
    return base + offset.view(n, module.offset_groups, module.taps, 2, out_h, out_w)


def pool_positions(module: DeformPSRoIPool, rois: Tensor, offset: Tensor) -> Tensor:
    """[2, R, classes, P, P, S] sampling positions in feature pixels, x then y, S samples per side of a bin.

    Source: the geometry of MXNet 1.9.1 _contrib_DeformablePSROIPooling.
    """
    arguments = module.arguments
    pooled, part, samples = (arguments[name] for name in ("pooled_size", "part_size", "sample_per_part"))
    # the operator rounds halves away from zero, in image pixels
    corners = (rois[:, 1:].abs() + 0.5).floor() * rois[:, 1:].sign()
    start = corners[:, :2] * arguments["spatial_scale"] - 0.5
    end = (corners[:, 2:] + 1) * arguments["spatial_scale"] - 0.5
    size = (end - start).clamp(min=0.1)
    bins = torch.arange(pooled, device=rois.device)
    cells = (bins * part) // pooled
    moves = (
        offset.view(len(rois), offset.shape[1] // 2, 2, part, part)[:, :, :, cells][..., cells] * arguments["trans_std"]
    )
    within = torch.arange(samples).to(rois) / samples / pooled
    positions = []
    for axis in (0, 1):
        in_bin = bins.view((1, pooled) if axis == 0 else (pooled, 1)).to(rois) / pooled
        in_roi = in_bin.expand(pooled, pooled)[..., None] + within + moves[:, :, axis, ..., None]
        positions.append(start[:, axis, None, None, None, None] + in_roi * size[:, axis, None, None, None, None])
    return torch.stack(positions)
