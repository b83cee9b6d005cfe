"""Position-sensitive RoI pooling; kernels in csrc, schema in csrc/cpu/psroi_pool.cpp."""

from typing import Any

import torch
from torch import Tensor

from torch_port.ops import library  # noqa: F401  loads the kernels
from torch_port.ops.arguments import check_grad, empty_like_format
from torch_port.ops.linear_pooling import register_linear
from torch_port.ops.roi_arguments import check_map_and_rois, check_positive, check_score_maps
from torch_port.ops.transforms import LIBRARY, register_autocast_to_float32

NAME = "psroi_pool"


def psroi_pool(
    input: Tensor,
    rois: Tensor,
    *,
    spatial_scale: float,
    output_dim: int,
    pooled_size: int,
    group_size: int | None = None,
) -> Tensor:
    """Average the cells of each RoI bin in the channels that belong to the bin's place (Dai et al. 2016, R-FCN).

    Args:
        input: score maps [N, D*G*G, H, W], channel = (d*G + row)*G + column of the group cell.
        rois: [R, 5] = (image index, x1, y1, x2, y2), image pixels, far edge inclusive. A row with NaN or infinity
            pools to 0; an image index outside [0, N) is an error on the CPU and pools to 0 on a GPU.
        spatial_scale: feature pixels per image pixel, in (0, 1].
        output_dim: D.
        pooled_size: P, side of the output.
        group_size: G, side of the grid of position-sensitive channels; None: pooled_size.
    Returns: [R, D, P, P] in input's type and memory format; a bin without cells is 0. Gradients go to input only.
    Raises: RuntimeError that names the argument, what was expected and what came.
    Source: MXNet 1.9.1 `_contrib_PSROIPooling`, bit for bit in float32; differs: nothing on finite input.
    """
    return torch.ops.dcn.psroi_pool(
        input,
        rois,
        spatial_scale=spatial_scale,
        output_dim=output_dim,
        pooled_size=pooled_size,
        group_size=group_size,
    )


def check(input: Tensor, rois: Tensor, output_dim: int, pooled_size: int, group_size: int | None) -> None:
    """The checks of the C++ kernel, in the same words."""
    group = pooled_size if group_size is None else group_size
    check_map_and_rois(NAME, input, rois)
    check_positive(NAME, "output_dim", output_dim)
    check_positive(NAME, "pooled_size", pooled_size)
    check_positive(NAME, "group_size", group)
    check_score_maps(NAME, input, output_dim, group)


@torch.library.register_fake("dcn::psroi_pool", lib=LIBRARY)
def _(
    input: Tensor,
    rois: Tensor,
    *,
    spatial_scale: float,
    output_dim: int,
    pooled_size: int,
    group_size: int | None = None,
) -> Tensor:
    check(input, rois, output_dim, pooled_size, group_size)
    return empty_like_format(input, (rois.shape[0], output_dim, pooled_size, pooled_size))


@torch.library.register_fake("dcn::psroi_pool_backward", lib=LIBRARY)
def _(
    grad: Tensor,
    input: Tensor,
    rois: Tensor,
    *,
    spatial_scale: float,
    output_dim: int,
    pooled_size: int,
    group_size: int | None = None,
) -> Tensor:
    check(input, rois, output_dim, pooled_size, group_size)
    check_grad(NAME, grad, input, (rois.shape[0], output_dim, pooled_size, pooled_size))
    return empty_like_format(input, input.shape)


def transpose_of_forward(gradient: Tensor, input: Tensor, rois: Tensor, **kwargs: Any) -> Tensor:
    return torch.ops.dcn.psroi_pool_backward(gradient, input, rois, **kwargs)


def transpose_of_backward(gradient: Tensor, grad: Tensor, input: Tensor, rois: Tensor, **kwargs: Any) -> Tensor:
    return torch.ops.dcn.psroi_pool(gradient, rois, **kwargs)


register_linear("psroi_pool", transpose_of_forward)
register_linear("psroi_pool_backward", transpose_of_backward)
register_autocast_to_float32("psroi_pool")
