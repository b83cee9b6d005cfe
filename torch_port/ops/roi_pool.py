"""RoI max pooling; kernels in csrc, schema in csrc/cpu/roi_pool.cpp."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torch_port.ops import library  # noqa: F401  loads the kernels
from torch_port.ops.arguments import check_device, check_grad, empty_like_format, refuse
from torch_port.ops.linear_pooling import register_linear
from torch_port.ops.roi_arguments import check_map_and_rois, check_positive
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

NAME = "roi_pool"


def roi_pool(input: Tensor, rois: Tensor, *, spatial_scale: float, pooled_size: int | Sequence[int]) -> Tensor:
    """Largest value of each RoI bin, channel by channel (Girshick 2015, Fast R-CNN).

    Args:
        input: feature maps [N, C, H, W].
        rois: [R, 5] = (image index, x1, y1, x2, y2), image pixels, far edge inclusive. A row with NaN or infinity
            pools to 0; an image index outside [0, N) is an error on the CPU and pools to 0 on a GPU.
        spatial_scale: feature pixels per image pixel, in (0, 1].
        pooled_size: P, or (height, width) of the output.
    Returns: [R, C, P, P] in input's type and memory format; a bin without cells is 0, one without anything above the
        lowest float32 (NaN everywhere) is that float. The gradient goes to each bin's first largest element.
    Raises: RuntimeError that names the argument, what was expected and what came.
    Source: MXNet 1.9.1 `ROIPooling`, bit for bit; differs: a wrong image index is an error instead of 0.
    """
    return torch.ops.dcn.roi_pool(input, rois, spatial_scale=spatial_scale, pooled_size=pooled_size)


def output_shape(input: Tensor, rois: Tensor, pooled_size: int | Sequence[int]) -> tuple[int, ...]:
    """The checks of the C++ kernel, in the same words, and the output's shape."""
    check_map_and_rois(NAME, input, rois)
    pooled = [pooled_size] * 2 if isinstance(pooled_size, int) else list(pooled_size)
    if len(pooled) != 2:
        refuse(NAME, f"pooled_size: expected a side or (height, width), got {len(pooled)} sides")
    for side in pooled:
        check_positive(NAME, "pooled_size", side)
    return rois.shape[0], input.shape[1], *pooled


@torch.library.register_fake("dcn::roi_pool", lib=LIBRARY)
def _(input: Tensor, rois: Tensor, *, spatial_scale: float, pooled_size: Sequence[int]) -> Tensor:
    return empty_like_format(input, output_shape(input, rois, pooled_size))


@torch.library.register_fake("dcn::roi_pool_with_argmax", lib=LIBRARY)
def _(input: Tensor, rois: Tensor, *, spatial_scale: float, pooled_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    shape = output_shape(input, rois, pooled_size)
    return empty_like_format(input, shape), empty_like_format(input, shape).int()


@torch.library.register_fake("dcn::roi_pool_backward", lib=LIBRARY)
def _(grad: Tensor, input: Tensor, rois: Tensor, argmax: Tensor) -> Tensor:
    check_map_and_rois(NAME, input, rois)
    fits = argmax.dim() == 4 and argmax.dtype == torch.int32
    if not fits or argmax.shape[0] != rois.shape[0] or argmax.shape[1] != input.shape[1]:
        expected = f"[{rois.shape[0]}, {input.shape[1]}, P, P]"
        refuse(NAME, f"argmax: expected {expected} in int32, got {list(argmax.shape)}")
    check_device(NAME, "argmax", argmax, input)
    check_grad(NAME, grad, input, argmax.shape)
    return empty_like_format(input, input.shape)


def gather(input: Tensor, rois: Tensor, argmax: Tensor) -> Tensor:
    """input's elements at argmax, 0 where a bin has none: what roi_pool is to a change of its input."""
    image = rois[:, 0].detach()
    usable = torch.isfinite(rois).all(1) & (image > -1) & (image < input.shape[0])
    image = torch.where(usable, image, torch.zeros_like(image)).long()
    channel = torch.arange(input.shape[1], device=input.device)
    cell = argmax.flatten(2).long()
    picked = input.flatten(2)[image[:, None, None], channel[None, :, None], cell.clamp(min=0)]
    picked = torch.where(cell >= 0, picked, torch.zeros((), dtype=input.dtype, device=input.device))
    return picked.reshape(argmax.shape)


class RoiPool(torch.autograd.Function):
    """Reverse mode: the gradient goes where the maxima were."""

    @staticmethod
    def forward(input: Tensor, rois: Tensor, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return one_level_down(torch.ops.dcn.roi_pool_with_argmax, input, rois, **kwargs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        input, rois, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # or argmax gets a gradient of zeros, as large as the output
        ctx.save_for_backward(input, rois, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        return torch.ops.dcn.roi_pool_backward(grad, *ctx.saved_tensors), None, None


def with_argmax_kernel(input: Tensor, rois: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor]:
    if has_tangent(input):
        primal, tangent = forward_ad.unpack_dual(input)
        output, argmax = torch.ops.dcn.roi_pool_with_argmax(primal, rois, **kwargs)
        return forward_ad.make_dual(output, gather(tangent, rois, argmax)), argmax
    if needs_gradient(input):
        return apply_at_this_level(RoiPool, input, rois, kwargs)
    return below_autograd(torch.ops.dcn.roi_pool_with_argmax, input, rois, **kwargs)


def autograd_kernel(input: Tensor, rois: Tensor, **kwargs: Any) -> Tensor:
    if has_tangent(input) or needs_gradient(input):
        return with_argmax_kernel(input, rois, **kwargs)[0]
    return below_autograd(torch.ops.dcn.roi_pool, input, rois, **kwargs)


def transpose_of_backward(gradient: Tensor, grad: Tensor, input: Tensor, rois: Tensor, argmax: Tensor) -> Tensor:
    return gather(gradient, rois, argmax)


register_autograd_kernel("roi_pool", autograd_kernel)
register_autograd_kernel("roi_pool_with_argmax", with_argmax_kernel)
register_linear("roi_pool_backward", transpose_of_backward)
register_vmap_by_loop("roi_pool")
register_vmap_by_loop("roi_pool_with_argmax")
register_autocast_to_float32("roi_pool")
