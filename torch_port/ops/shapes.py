"""Shapes of a deformable convolution: read off its arguments and checked, in the words of csrc/cpu/deform_conv.cpp."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from torch_port.ops.arguments import FLOATING, check_companion, check_positions, dtype_text, refuse

NAME = "deform_conv2d"
LARGEST = 1 << 20  # stride, padding, dilation


@dataclass(frozen=True)
class DeformConvShape:
    """N images, C channels, H W input, O output channels, OH OW output, kernel, weight groups, offset groups."""

    images: int
    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    offset_groups: int

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def output(self) -> tuple[int, int, int, int]:
        return self.images, self.out_channels, self.out_height, self.out_width


def pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    """One number for both axes, or (vertical, horizontal)."""
    if isinstance(value, int):
        return value, value
    numbers = tuple(value)
    if len(numbers) != 2:
        refuse(NAME, f"{name}: expected one number or two (vertical, horizontal), got {numbers}")
    return numbers


def convolved_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Output size on one axis; 0 where the dilated kernel does not fit."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    return 0 if room < 0 else room // stride + 1


def check_pair(name: str, value: Sequence[int], smallest: int) -> None:
    if len(value) != 2 or min(value) < smallest or max(value) > LARGEST:
        refuse(
            NAME,
            f"{name}: expected two numbers (vertical, horizontal) from {smallest} to {LARGEST}, got {tuple(value)}",
        )


def check_border(border: str) -> None:
    if border not in ("clamp", "zeros"):
        refuse(
            NAME,
            f'border: expected "clamp" (MXNet\'s DeformableConvolution) or "zeros" (DCNv2, torchvision), got "{border}"',
        )


def check_weight(input: Tensor, weight: Tensor) -> None:
    if input.dtype not in FLOATING:
        refuse(NAME, f"input: expected float32, float64, bfloat16 or float16, got {dtype_text(input)}")
    if input.dim() != 4:
        refuse(NAME, f"input: expected [N, C, H, W], got {list(input.shape)}")
    if weight.dim() != 4:
        refuse(NAME, f"weight: expected [O, C/groups, kh, kw], got {list(weight.shape)}")
    check_companion(NAME, "weight", weight, input)
    if min(weight.shape) < 1:
        refuse(NAME, f"weight: expected no empty dimension, got {list(weight.shape)}")
    channels, shape = input.shape[1], list(weight.shape)
    if channels < 1 or channels % weight.shape[1] != 0:
        refuse(NAME, f"weight: expected its second size to divide input's {channels} channels, got {shape}")
    groups = channels // weight.shape[1]
    if weight.shape[0] % groups != 0:
        refuse(
            NAME,
            f"weight: expected output channels that {groups} weight groups ({channels} input channels / "
            f"{weight.shape[1]}) divide, got {shape}",
        )
    height, width = input.shape[2:]
    if height >= 1 << 24 or width >= 1 << 24 or height * width >= (1 << 31) - 1:  # max() would compile for H < W alone
        refuse(
            NAME,
            "input: expected height and width below 2^24 and fewer than 2^31 - 1 pixels, got " + str(list(input.shape)),
        )


def deform_conv_shape(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> DeformConvShape:
    """Raises RuntimeError that names the argument, what was expected and what came."""
    check_weight(input, weight)
    for name, value, smallest in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        check_pair(name, value, smallest)
    kernel = (weight.shape[2], weight.shape[3])
    out_height, out_width = (
        convolved_size(input.shape[2 + i], kernel[i], stride[i], padding[i], dilation[i]) for i in range(2)
    )
    if out_height < 1 or out_width < 1:
        refuse(
            NAME,
            f"input: expected a map at least as large as the dilated kernel, got {list(input.shape)} for weight "
            f"{list(weight.shape)} (output would be {out_height} x {out_width})",
        )
    images, channels, height, width = input.shape
    taps = kernel[0] * kernel[1]
    offset_groups = offset.shape[1] // (2 * taps) if offset.dim() == 4 else 0
    expected = [images, offset_groups * 2 * taps, out_height, out_width]
    if offset_groups < 1 or list(offset.shape) != expected or channels % offset_groups != 0:
        refuse(
            NAME,
            f"offset: expected [{images}, 2*G*{taps}, {out_height}, {out_width}] with G offset groups that divide "
            f"{channels} channels, got {list(offset.shape)}",
        )
    check_positions(NAME, "offset", offset, input)
    if mask is not None:
        expected = [images, offset_groups * taps, out_height, out_width]
        if list(mask.shape) != expected:
            refuse(
                NAME,
                f"mask: expected {expected} ({offset_groups} offset groups by {taps} taps), got {list(mask.shape)}",
            )
        check_positions(NAME, "mask", mask, input)
    if bias is not None:
        if list(bias.shape) != [weight.shape[0]]:
            refuse(NAME, f"bias: expected [{weight.shape[0]}], got {list(bias.shape)}")
        check_companion(NAME, "bias", bias, input)
    geometry = ((stride[0], stride[1]), (padding[0], padding[1]), (dilation[0], dilation[1]))
    return DeformConvShape(images, channels, height, width, weight.shape[0], out_height, out_width, kernel, *geometry,
                           channels // weight.shape[1], offset_groups)  # fmt: skip
