"""Poolings over regions of interest, as modules around the operators.

RoIs are [R, 5] = (image index, x1, y1, x2, y2) in image pixels, far edge inclusive; R may be 0. None of these layers
gives the RoIs a gradient.
"""

from typing import Any

import torch
from torch import Tensor, nn

from torch_port import ops


class DeformPSRoIPool(nn.Module):
    """Position-sensitive RoI pooling whose bins move by learned offsets (Dai et al. 2017, eq. 6).

    Args:
        output_dim: D, channels of the output; the input has D*group_size**2.
        spatial_scale: feature pixels per image pixel, in (0, 1].
        group_size, pooled_size, part_size: cells per side of the score maps, the output and the offsets.
        sample_per_part: samples per side of a bin.
        trans_std: offsets are in RoI sizes, times this.
    Source: MXNet 1.9.1 _contrib_DeformablePSROIPooling; no offset handed to forward is its no_trans=True.
    """

    def __init__(
        self,
        output_dim: int,
        *,
        spatial_scale: float,
        group_size: int,
        pooled_size: int,
        part_size: int | None = None,
        sample_per_part: int = 4,
        trans_std: float = 0.1,
    ):
        super().__init__()
        self.arguments: dict[str, Any] = {
            "spatial_scale": spatial_scale,
            "output_dim": output_dim,
            "group_size": group_size,
            "pooled_size": pooled_size,
            "part_size": part_size or pooled_size,
            "sample_per_part": sample_per_part,
            "trans_std": trans_std,
        }

    def forward(self, input: Tensor, rois: Tensor, offset: Tensor | None = None) -> Tensor:
        """[N, D*g*g, H, W], [R, 5], [R, 2*classes, part, part] (x first, then y) -> [R, D, P, P]."""
        return ops.deform_psroi_pool(input, rois, offset, **self.arguments)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.arguments.items())


class PSRoIPool(nn.Module):
    """Position-sensitive RoI average pooling (Dai et al. 2016, R-FCN).

    Args:
        output_dim: D, channels of the output; the input has D*group_size**2.
        spatial_scale: feature pixels per image pixel, in (0, 1].
        pooled_size: P, output cells per side; group_size: cells per side of the score maps, P if None.
    Source: MXNet 1.9.1 _contrib_PSROIPooling.
    """

    def __init__(self, output_dim: int, *, spatial_scale: float, pooled_size: int, group_size: int | None = None):
        super().__init__()
        self.arguments: dict[str, Any] = {
            "spatial_scale": spatial_scale,
            "output_dim": output_dim,
            "pooled_size": pooled_size,
            "group_size": group_size or pooled_size,
        }

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """[N, D*g*g, H, W], [R, 5] -> [R, D, P, P]."""
        return ops.psroi_pool(input, rois, **self.arguments)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.arguments.items())


class RoIPool(nn.Module):
    """RoI max pooling of Fast R-CNN.

    Args:
        spatial_scale: feature pixels per image pixel, in (0, 1]. pooled_size: P, output cells per side.
    Source: MXNet 1.9.1 ROIPooling.
    """

    def __init__(self, *, spatial_scale: float, pooled_size: int):
        super().__init__()
        self.arguments: dict[str, Any] = {"spatial_scale": spatial_scale, "pooled_size": pooled_size}

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """[N, C, H, W], [R, 5] -> [R, C, P, P]."""
        return ops.roi_pool(input, rois, **self.arguments)

    def taken(self, input: Tensor, rois: Tensor) -> Tensor:
        """Which element forward() takes: [R, C, P, P] index into the image's flattened H*W, -1 where a bin has none."""
        side = self.arguments["pooled_size"]
        scale = self.arguments["spatial_scale"]
        _, taken = torch.ops.dcn.roi_pool_with_argmax(input, rois, spatial_scale=scale, pooled_size=[side, side])
        return taken

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.arguments.items())
