"""Dense pooling with MXNet's size rule, and the average over a whole map."""

import torch.nn.functional as F
from torch import Tensor, nn

from dcn_tasks.errors import InputError


class CeilMaxPool(nn.Module):
    """Max pooling whose output covers the whole input: OH = ceil((H - kernel) / stride) + 1, no padding.

    The size rule is MXNet's pooling_convention="full". PyTorch's ceil_mode drops a last window that starts beyond the
    input (MXNet keeps it, filled with the lowest number); without padding and with stride <= kernel no window does,
    so the two agree, and anything else is refused here.

    Args:
        kernel_size, stride: in pixels, the same for both axes; stride <= kernel_size.
    Raises: InputError when stride > kernel_size.
    Source: MXNet 1.9.1 Pooling; the original's pool1 is kernel 3, stride 2, pad 0.
    """

    def __init__(self, kernel_size: int, stride: int):
        super().__init__()
        if stride > kernel_size:
            raise InputError(
                f"CeilMaxPool: expected stride <= kernel_size, got stride {stride}, kernel_size {kernel_size}: with "
                "larger strides PyTorch and MXNet disagree about the number of windows; pad the input yourself"
            )
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, OH, OW]."""
        return F.max_pool2d(input, self.kernel_size, self.stride, ceil_mode=True)

    def taken(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, OH, OW] index in the flattened H*W of the pixel that each window takes."""
        return F.max_pool2d(input, self.kernel_size, self.stride, ceil_mode=True, return_indices=True)[1]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class PaddedMaxPool(nn.Module):
    """Max pooling with padding that never wins: OH = floor((H + 2 * padding - kernel) / stride) + 1.

    Args: kernel_size, stride, padding: in pixels, the same for both axes; padding at most half of kernel_size.
    Source: MXNet 1.9.1 Pooling with its default pooling_convention="valid", which is also PyTorch's rule.
    """

    def __init__(self, kernel_size: int, stride: int, *, padding: int):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, OH, OW]."""
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding)

    def taken(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, OH, OW] index in the flattened H*W of the pixel that each window takes."""
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, return_indices=True)[1]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class GlobalAverage(nn.Module):
    """The mean of every map: [R, C, P, P] -> [R, C]; R may be 0.

    Source: MXNet 1.9.1 Pooling(pool_type=avg, global_pool=True) followed by the reshape to (-1, C).
    """

    def forward(self, input: Tensor) -> Tensor:
        return input.mean(dim=(2, 3))
