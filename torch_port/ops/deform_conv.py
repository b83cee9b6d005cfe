"""Deformable convolution; kernels in csrc, schema in csrc/cpu/deform_conv.cpp."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_port.ops import deform_conv_composite as composite
from torch_port.ops import library  # noqa: F401  loads the kernels
from torch_port.ops.arguments import check_grad, empty_like_format, refuse
from torch_port.ops.shapes import check_border, deform_conv_shape, pair
from torch_port.ops.transforms import (
    LIBRARY,
    apply_at_this_level,
    below_autograd,
    called,
    has_tangent,
    needs_gradient,
    one_level_down,
    register_autograd_kernel,
    register_vmap_by_batch,
)

Size = int | Sequence[int]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    *,
    border: str = "clamp",
) -> Tensor:
    """Convolution whose taps sample at learned offsets (Dai et al. 2017, eq. 2).

    Args:
        input: [N, C, H, W], float32 or float64, NCHW or channels_last.
        offset: [N, 2*G*K, OH, OW] in input pixels, K = kh*kw taps row by row: y first, then x, tap by tap, group by
            group; C/G consecutive channels share their offsets. A sample at a position that is not finite is 0, and
            so are all its gradients.
        weight: [O, C/groups, kh, kw]; the weight groups are read from the shape.
        bias: [O].
        stride, padding, dilation: as torch.nn.functional.conv2d, one number or (vertical, horizontal).
        border: the rule outside the map. "clamp": samples in [0, H) have a value, beyond H-1 that of the last row,
            with offset gradient 0 there (MXNet's DeformableConvolution). "zeros": the map goes on with zeros, values
            fade over (-1, 0) and (H-1, H) (DCNv2, torchvision).
    Returns: [N, O, OH, OW] in input's dtype and memory format. Gradients go to every tensor.
    Raises: RuntimeError that names the argument, what was expected and what came.
    Source: MXNet 1.9.1 `_contrib_DeformableConvolution`; differs: positions that are not finite are defined.
    """
    geometry = pair("stride", stride), pair("padding", padding), pair("dilation", dilation)
    return called(torch.ops.dcn.deform_conv2d, (input, offset, None, weight, bias), *geometry, border)


def modulated_deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    *,
    border: str = "zeros",
) -> Tensor:
    """`deform_conv2d` whose samples are also multiplied by a mask (Zhu et al. 2019, eq. 1).

    Args:
        mask: [N, G*K, OH, OW], tap by tap, group by group; used as it is (no sigmoid).
        others: as deform_conv2d, but for the default of `border`.
    Returns: [N, O, OH, OW] in input's dtype and memory format. Gradients go to every tensor.
    Raises: RuntimeError that names the argument, what was expected and what came.
    Source: MXNet 1.9.1 `_contrib_ModulatedDeformableConvolution`, which has no backward on the CPU.
    """
    geometry = pair("stride", stride), pair("padding", padding), pair("dilation", dilation)
    if mask is None:
        refuse("modulated_deform_conv2d", "mask: expected a tensor, got None: without a mask use deform_conv2d")
    return called(torch.ops.dcn.deform_conv2d, (input, offset, mask, weight, bias), *geometry, border)


@torch.library.register_fake("dcn::deform_conv2d", lib=LIBRARY)
def _(input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None,
      stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], border: str) -> Tensor:  # fmt: skip
    shape = deform_conv_shape(input, offset, mask, weight, bias, stride, padding, dilation)
    check_border(border)
    return empty_like_format(input, shape.output)


@torch.library.register_fake("dcn::deform_conv2d_backward", lib=LIBRARY)
def _(grad: Tensor, input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, stride: Sequence[int],
      padding: Sequence[int], dilation: Sequence[int], border: str, *wanted: bool) -> tuple[Tensor, ...]:  # fmt: skip
    shape = deform_conv_shape(input, offset, mask, weight, None, stride, padding, dilation)
    check_border(border)
    check_grad("deform_conv2d_backward", grad, input, shape.output)
    like = (
        offset,
        offset if mask is None else mask,
        weight,
    )  # gradients have the type of what they are the gradient of
    others = (t.new_empty(t.shape if want else (0,)) for t, want in zip(like, wanted[1:4], strict=True))
    for_input = empty_like_format(input, input.shape) if wanted[0] else input.new_empty(0)
    return for_input, *others, input.new_empty(shape.out_channels if wanted[4] else 0)


class DeformConv2dFunction(torch.autograd.Function):
    """Reverse mode: the backward kernel, for the gradients that are asked for."""

    @staticmethod
    def forward(input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None,
                *geometry: Any) -> Tensor:  # fmt: skip
        return one_level_down(torch.ops.dcn.deform_conv2d, input, offset, mask, weight, bias, *geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, offset, mask, weight, _, *ctx.geometry = inputs
        ctx.save_for_backward(input, offset, mask, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[:5]
        gradients = torch.ops.dcn.deform_conv2d_backward(grad, *ctx.saved_tensors, *ctx.geometry, *wanted)
        return *(g if want else None for g, want in zip(gradients, wanted, strict=True)), None, None, None, None


def in_type_of_sums(tensors: Sequence[Tensor | None]) -> tuple[Any, Any, Any, Any, Any]:
    """Five tensors, float16 and bfloat16 ones in float32, in which the kernels compute positions and sums."""
    halves = (torch.float16, torch.bfloat16)
    a, b, c, d, e = (t.float() if t is not None and t.dtype in halves else t for t in tensors)
    return a, b, c, d, e


def autograd_kernel(input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None,
                    *geometry: Any) -> Tensor:  # fmt: skip
    tensors = (input, offset, mask, weight, bias)
    if has_tangent(*tensors):
        shape = deform_conv_shape(*tensors, *geometry[:3])
        check_border(geometry[3])
        return composite.forward(*in_type_of_sums(tensors), shape, geometry[3]).to(input.dtype)
    if needs_gradient(*tensors):
        return apply_at_this_level(DeformConv2dFunction, *tensors, *geometry)
    return below_autograd(torch.ops.dcn.deform_conv2d, *tensors, *geometry)


def backward_autograd_kernel(grad: Tensor, input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor,
                             *geometry_and_wanted: Any) -> tuple[Tensor, ...]:  # fmt: skip
    """Second derivatives and forward mode over backward go through the composite."""
    tensors = (grad, input, offset, mask, weight)
    if not (has_tangent(*tensors) or needs_gradient(*tensors)):
        return below_autograd(torch.ops.dcn.deform_conv2d_backward, *tensors, *geometry_and_wanted)
    geometry, border, wanted = geometry_and_wanted[:3], geometry_and_wanted[3], geometry_and_wanted[4:]
    shape = deform_conv_shape(input, offset, mask, weight, None, *geometry)
    gradients = composite.backward(*in_type_of_sums(tensors), shape, border)
    like = (input, offset, offset if mask is None else mask, weight, grad)
    return tuple(
        g.to(t.dtype) if want and g is not None else t.new_zeros(0)
        for g, t, want in zip(gradients, like, wanted, strict=True)
    )


register_autograd_kernel("deform_conv2d", autograd_kernel)
register_autograd_kernel("deform_conv2d_backward", backward_autograd_kernel)
register_vmap_by_batch("deform_conv2d", shared=(3, 4))
register_vmap_by_batch("deform_conv2d_backward", shared=(4,), sums=(12, 13))
