"""Deformable position-sensitive RoI pooling; kernels in csrc, schema in csrc/cpu/deform_psroi_pool.cpp."""

from typing import Any

import torch
from torch import Tensor

from torch_port.ops import deform_psroi_composite as composite
from torch_port.ops import library  # noqa: F401  loads the kernels
from torch_port.ops.arguments import check_grad, check_positions, empty_like_format, refuse
from torch_port.ops.roi_arguments import check_map_and_rois, check_positive, check_score_maps
from torch_port.ops.transforms import (
    LIBRARY,
    apply_at_this_level,
    below_autograd,
    has_tangent,
    needs_gradient,
    one_level_down,
    register_autocast_to_float32,
    register_autograd_kernel,
    register_vmap_by_loop,
)

NAME = "deform_psroi_pool"


def deform_psroi_pool(
    input: Tensor,
    rois: Tensor,
    offset: Tensor | None = None,
    *,
    spatial_scale: float,
    output_dim: int,
    group_size: int,
    pooled_size: int,
    part_size: int | None = None,
    sample_per_part: int = 1,
    trans_std: float = 0.0,
) -> Tensor:
    """Average-pool each RoI bin at learned positions (Dai et al. 2017, eq. 6).

    Args:
        input: score maps [N, D*G*G, H, W], channel = (d*G + row)*G + column of the group cell.
        rois: [R, 5] = (image index, x1, y1, x2, y2), image pixels, far edge inclusive. A row with NaN or infinity
            pools to 0; an image index outside [0, N) is an error on the CPU and pools to 0 on a GPU.
        offset: [R, 2*classes, part, part]; x first, then y (deform_conv2d has y first); in RoI sizes, times trans_std.
            Each class moves D/classes consecutive output channels. None: no offsets (MXNet's no_trans).
        spatial_scale: feature pixels per image pixel, in (0, 1].
        output_dim: D.
        group_size: G, side of the grid of position-sensitive channels.
        pooled_size: P, side of the output.
        part_size: side of the offset map; None: pooled_size.
        sample_per_part: samples per bin and axis, at the left edges of their sub-bins.
        trans_std: scale of the offsets.
    Returns: [R, D, P, P] in input's type and memory format; a bin none of whose samples falls inside is 0.
        Gradients go to input and offset; rois have none.
    Raises: RuntimeError that names the argument, what was expected and what came.
    Source: MXNet 1.9.1 `_contrib_DeformablePSROIPooling`, bit for bit in float32; differs: nothing on finite input.
    """
    return torch.ops.dcn.deform_psroi_pool(
        input,
        rois,
        offset,
        spatial_scale=spatial_scale,
        output_dim=output_dim,
        group_size=group_size,
        pooled_size=pooled_size,
        part_size=part_size,
        sample_per_part=sample_per_part,
        trans_std=trans_std,
    )


def pooling(kwargs: dict[str, Any]) -> composite.Pooling:
    """Keyword arguments as the dispatcher hands them over (defaults left out), resolved."""
    filled = {"sample_per_part": 1, "trans_std": 0.0, **{k: v for k, v in kwargs.items() if not k.startswith("want_")}}
    if filled.get("part_size") is None:
        filled["part_size"] = filled["pooled_size"]
    return composite.Pooling(**filled)


def wanted(offset: Tensor | None, kwargs: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a call of the backward asks for the gradients of input and of offset."""
    return kwargs.get("want_input", True), offset is not None and kwargs.get("want_offset", True)


def check(input: Tensor, rois: Tensor, offset: Tensor | None, p: composite.Pooling) -> None:
    """The checks of the C++ kernel, in the same words."""
    check_map_and_rois(NAME, input, rois)
    for name in ("output_dim", "pooled_size", "group_size"):
        check_positive(NAME, name, getattr(p, name))
    check_score_maps(NAME, input, p.output_dim, p.group_size)
    for name in ("part_size", "sample_per_part"):
        check_positive(NAME, name, getattr(p, name))
    if offset is None:
        return
    part = p.part_size
    if offset.dim() != 4 or offset.shape[0] != rois.shape[0] or offset.shape[1] < 2 or offset.shape[1] % 2 \
            or offset.shape[2] != part or offset.shape[3] != part:  # fmt: skip
        expected = f"[{rois.shape[0]}, 2 * classes, {part}, {part}]"
        refuse(NAME, f"offset: expected {expected}, got {list(offset.shape)}")
    classes = offset.shape[1] // 2
    if p.output_dim % classes:
        refuse(NAME, f"offset: expected a number of classes that divides output_dim {p.output_dim}, got {classes}")
    check_positions(NAME, "offset", offset, input)


@torch.library.register_fake("dcn::deform_psroi_pool", lib=LIBRARY)
def _(input: Tensor, rois: Tensor, offset: Tensor | None = None, **kwargs: Any) -> Tensor:
    p = pooling(kwargs)
    check(input, rois, offset, p)
    return empty_like_format(input, (rois.shape[0], p.output_dim, p.pooled_size, p.pooled_size))


@torch.library.register_fake("dcn::deform_psroi_pool_backward", lib=LIBRARY)
def _(grad: Tensor, input: Tensor, rois: Tensor, offset: Tensor | None, **kwargs: Any) -> tuple[Tensor, Tensor]:
    p = pooling(kwargs)
    check(input, rois, offset, p)
    check_grad(NAME, grad, input, (rois.shape[0], p.output_dim, p.pooled_size, p.pooled_size))
    want_input, want_offset = wanted(offset, kwargs)
    for_input = empty_like_format(input, input.shape) if want_input else input.new_empty(0)
    return for_input, input.new_empty(0) if offset is None or not want_offset else offset.new_empty(offset.shape)


class DeformPsroiPool(torch.autograd.Function):
    """Reverse mode: the backward kernel."""

    @staticmethod
    def forward(input: Tensor, rois: Tensor, offset: Tensor | None, kwargs: dict[str, Any]) -> Tensor:
        return one_level_down(torch.ops.dcn.deform_psroi_pool, input, rois, offset, **kwargs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, rois, offset, ctx.kwargs = inputs
        ctx.save_for_backward(input, rois, offset)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, rois, offset = ctx.saved_tensors
        want_input, _, want_offset, _ = ctx.needs_input_grad
        for_input, for_offset = torch.ops.dcn.deform_psroi_pool_backward(
            grad, input, rois, offset, **ctx.kwargs, want_input=want_input, want_offset=want_offset
        )
        return for_input if want_input else None, None, for_offset if want_offset else None, None


def autograd_kernel(input: Tensor, rois: Tensor, offset: Tensor | None = None, **kwargs: Any) -> Tensor:
    if has_tangent(input, offset):
        p = pooling(kwargs)
        check(input, rois, offset, p)
        return composite.forward(input, rois, offset, p)
    if needs_gradient(input, offset):
        return apply_at_this_level(DeformPsroiPool, input, rois, offset, kwargs)
    return below_autograd(torch.ops.dcn.deform_psroi_pool, input, rois, offset, **kwargs)


def backward_autograd_kernel(
    grad: Tensor, input: Tensor, rois: Tensor, offset: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """Second derivatives and forward mode over backward go through the composite."""
    if has_tangent(grad, input, offset) or needs_gradient(grad, input, offset):
        p = pooling(kwargs)
        check(input, rois, offset, p)
        check_grad(NAME, grad, input, (rois.shape[0], p.output_dim, p.pooled_size, p.pooled_size))
        for_input, for_offset = composite.backward(grad, input, rois, offset, p)
        want_input, want_offset = wanted(offset, kwargs)
        none = input.new_zeros(0)
        return for_input if want_input else none, none if for_offset is None or not want_offset else for_offset
    return below_autograd(torch.ops.dcn.deform_psroi_pool_backward, grad, input, rois, offset, **kwargs)


register_autograd_kernel("deform_psroi_pool", autograd_kernel)
register_autograd_kernel("deform_psroi_pool_backward", backward_autograd_kernel)
register_vmap_by_loop("deform_psroi_pool")
register_vmap_by_loop("deform_psroi_pool_backward")
register_autocast_to_float32("deform_psroi_pool")
