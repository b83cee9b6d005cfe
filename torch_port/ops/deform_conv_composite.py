"""Deformable convolution out of differentiable PyTorch operations.

Slow and hungry for memory (every sample of every channel is an element); it serves forward mode and second
derivatives, where the kernels of `deform_conv2d` stop. Same cells.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from torch_port.ops.shapes import DeformConvShape


@dataclass(frozen=True)
class AxisCells:
    """One axis of every sample, each [N, G, K, OH, OW]: csrc/core/bilinear.h's AxisCell. Indices are in the map."""

    low: Tensor
    high: Tensor
    fraction: Tensor
    inside: Tensor
    low_inside: Tensor
    high_inside: Tensor


def axis_cells(position: Tensor, size: int, border: str) -> AxisCells:
    whole = position.detach()
    if border == "clamp":
        inside = (whole >= 0) & (whole < size)
        safe = torch.where(inside, position, torch.zeros_like(position))
        low = safe.detach().floor().long()
        last = low >= size - 1
        fraction = torch.where(last, torch.zeros_like(safe), safe - low)
        return AxisCells(low, torch.where(last, low, low + 1), fraction, inside, inside, inside)
    inside = (whole > -1) & (whole < size)
    safe = torch.where(inside, position, torch.zeros_like(position))
    low = safe.detach().floor().long()
    low_inside, high_inside = inside & (low >= 0), inside & (low + 1 < size)
    return AxisCells(low.clamp(min=0), (low + 1).clamp(max=size - 1), safe - low, inside, low_inside, high_inside)


@dataclass(frozen=True)
class Sampling:
    """Every sample of every channel: G groups of C/G channels, K taps, P = OH*OW positions."""

    input: Tensor
    offset: Tensor
    mask: Tensor | None
    shape: DeformConvShape
    border: str

    @cached_property
    def cells(self) -> tuple[AxisCells, AxisCells]:
        s = self.shape
        offset = self.offset.reshape(s.images, s.offset_groups, s.taps, 2, s.out_height, s.out_width)
        tap = torch.arange(s.taps, device=offset.device)
        row = torch.arange(s.out_height, device=offset.device)
        column = torch.arange(s.out_width, device=offset.device)
        y = (row * s.stride[0] - s.padding[0])[:, None] + (tap // s.kernel[1] * s.dilation[0])[:, None, None]
        x = (column * s.stride[1] - s.padding[1]) + (tap % s.kernel[1] * s.dilation[1])[:, None, None]
        y_cells = axis_cells(y.to(offset.dtype) + offset[:, :, :, 0], s.height, self.border)
        x_cells = axis_cells(x.to(offset.dtype) + offset[:, :, :, 1], s.width, self.border)
        return y_cells, x_cells

    @cached_property
    def inside(self) -> Tensor:
        """[N, G, 1, K*P]."""
        y, x = self.cells
        return (y.inside & x.inside).flatten(2)[:, :, None]

    @cached_property
    def fractions(self) -> tuple[Tensor, Tensor]:
        """(y, x), each [N, G, 1, K*P]."""
        y, x = self.cells
        return y.fraction.flatten(2)[:, :, None], x.fraction.flatten(2)[:, :, None]

    @cached_property
    def places(self) -> list[tuple[Tensor, Tensor]]:
        """(flat index into the map, whether the corner is in it) of v00, v01, v10, v11, each [N, G, 1, K*P]."""
        y, x = self.cells
        corners = [
            (y_at * self.shape.width + x_at, y_in & x_in & y.inside & x.inside)
            for y_at, y_in in ((y.low, y.low_inside), (y.high, y.high_inside))
            for x_at, x_in in ((x.low, x.low_inside), (x.high, x.high_inside))
        ]
        return [(index.flatten(2)[:, :, None], there.flatten(2)[:, :, None]) for index, there in corners]

    @property
    def weights(self) -> list[Tensor]:
        y, x = self.fractions
        return [(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x]

    @cached_property
    def corners(self) -> list[Tensor]:
        """v00, v01, v10, v11, each [N, G, C/G, K*P]; 0 beyond the map."""
        s = self.shape
        planes = self.input.reshape(s.images, s.offset_groups, -1, s.height * s.width)
        zero = torch.zeros((), dtype=planes.dtype, device=planes.device)
        size = (-1, -1, planes.shape[2], -1)
        return [torch.where(there, planes.gather(3, index.expand(size)), zero) for index, there in self.places]

    @cached_property
    def value(self) -> Tensor:
        """Samples before the mask [N, G, C/G, K*P]."""
        terms = [w * v for w, v in zip(self.weights, self.corners, strict=True)]
        return self.only_inside(terms[0] + terms[1] + terms[2] + terms[3])

    @cached_property
    def modulation(self) -> Tensor | float:
        """The mask [N, G, 1, K*P], or 1."""
        s = self.shape
        return 1.0 if self.mask is None else self.mask.reshape(s.images, s.offset_groups, 1, -1)

    @property
    def columns(self) -> Tensor:
        """What the weight multiplies: [N, groups, C/groups * K, P]."""
        s = self.shape
        masked = self.only_inside(self.value * self.modulation)
        return masked.reshape(s.images, s.groups, -1, s.out_height * s.out_width)

    def only_inside(self, t: Tensor) -> Tensor:
        return torch.where(self.inside, t, torch.zeros((), dtype=t.dtype, device=t.device))


def forward(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None,
    shape: DeformConvShape, border: str,
) -> Tensor:  # fmt: skip
    """[N, O, OH, OW]; differentiable any number of times and in forward mode."""
    columns = Sampling(input, offset, mask, shape, border).columns
    output = torch.matmul(weight.reshape(shape.groups, -1, columns.shape[2]), columns).reshape(shape.output)
    return output if bias is None else output + bias[:, None, None]


def backward(
    grad: Tensor, input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor,
    shape: DeformConvShape, border: str,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:  # fmt: skip
    """Gradients of `forward` for input, offset, mask, weight and bias; differentiable in its tensors."""
    s, at = shape, Sampling(input, offset, mask, shape, border)
    above = grad.reshape(s.images, s.groups, s.out_channels // s.groups, -1)
    matrix = weight.reshape(s.groups, s.out_channels // s.groups, -1)
    for_weight = torch.matmul(above, at.columns.transpose(2, 3)).sum(0).reshape(weight.shape)
    for_sample = torch.matmul(matrix.transpose(1, 2), above).reshape(at.value.shape)
    masked = at.only_inside(for_sample * at.modulation)
    planes = torch.zeros_like(input, memory_format=torch.contiguous_format)
    planes = planes.reshape(s.images, s.offset_groups, -1, s.height * s.width)
    for w, (index, there) in zip(at.weights, at.places, strict=True):
        share = torch.where(there, w * masked, torch.zeros_like(masked))
        planes = planes.scatter_add(3, index.expand(share.shape), share)
    v00, v01, v10, v11 = at.corners
    y, x = at.fractions
    slope_y, slope_x = (v10 - v00) * (1 - x) + (v11 - v01) * x, (v01 - v00) * (1 - y) + (v11 - v10) * y
    size = (s.images, s.offset_groups, s.taps, s.out_height, s.out_width)
    per_axis = [at.only_inside(slope * masked).sum(2).reshape(size) for slope in (slope_y, slope_x)]
    for_offset = torch.stack(per_axis, 3).reshape(offset.shape)
    for_mask = None if mask is None else at.only_inside(for_sample * at.value).sum(2).reshape(mask.shape)
    return planes.reshape(input.shape), for_offset, for_mask, for_weight, grad.sum((0, 2, 3))
