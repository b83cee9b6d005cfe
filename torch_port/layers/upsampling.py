"""Upsampling with MXNet's conventions: a fixed bilinear Deconvolution, and the Crop that follows it."""

import torch
from torch import Tensor, nn

from dcn_tasks.errors import InputError
from dcn_tasks.initial import bilinear_kernel


class BilinearDeconvolution(nn.ConvTranspose2d):
    """Every channel on its own, `factor` times as large, plus `factor` pixels: side n -> (n + 1) * factor.

    The weight is a parameter [C, 1, 2*factor, 2*factor], bilinear at first, whose learning rate is 0; a checkpoint may hold
    any other.

    Args: channels: C. factor: output pixels per input pixel, even.
    Source: MXNet 1.9.1 Deconvolution(kernel=2*factor, stride=factor, pad=0, num_group=C, no_bias=True); the original's node
        `upsampling` with lr_mult 0.
    """

    lr_mult = 0.0

    def __init__(self, channels: int, factor: int):
        super().__init__(channels, channels, 2 * factor, stride=factor, groups=channels, bias=False)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The bilinear kernel, the same for every channel."""
        self.weight.copy_(torch.from_numpy(bilinear_kernel(self.kernel_size[0])).expand_as(self.weight))


class Crop(nn.Module):
    """A window of the size of another map, the same number of pixels from the top and from the left.

    Args: offset: pixels.
    Raises: InputError where the window leaves the map.
    Source: MXNet 1.9.1 Crop(offset=(o, o)) of two inputs.
    """

    def __init__(self, offset: int):
        super().__init__()
        self.offset = offset

    def forward(self, input: Tensor, like: Tensor) -> Tensor:
        """[N, C, H, W] and [N, D, h, w] -> [N, C, h, w]; `like` lends its size only."""
        height, width = like.shape[2:]
        room_y, room_x = input.shape[2] - self.offset - height, input.shape[3] - self.offset - width
        if room_y < 0 or room_x < 0:
            raise InputError(
                f"Crop: expected a map of at least {self.offset + height}x{self.offset + width} pixels, got "
                f"{input.shape[2]}x{input.shape[3]}"
            )
        return input[:, :, self.offset : self.offset + height, self.offset : self.offset + width]

    def extra_repr(self) -> str:
        return f"offset={self.offset}"
