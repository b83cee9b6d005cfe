"""FlowNet's comparison of two maps."""

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.registry import operator


@operator("Correlation")
def correlation(
    data1: Tensor,
    data2: Tensor,
    *,
    kernel_size: int = 1,
    max_displacement: int = 1,
    stride1: int = 1,
    stride2: int = 1,
    pad_size: int = 0,
    is_multiply: bool = True,
) -> Tensor:
    """Mean product (or absolute difference) of patches of two maps, one channel for each displacement, rows of them first."""
    one, two = (F.pad(each, (pad_size,) * 4) for each in (data1, data2))
    border = max_displacement + (kernel_size - 1) // 2
    height, width = (-(-(side - 2 * border) // stride1) for side in one.shape[2:])
    rows, columns = ((count - 1) * stride1 + kernel_size for count in (height, width))
    reach = max_displacement // stride2
    steps = [max_displacement + step * stride2 for step in range(-reach, reach + 1)]
    place = one[:, :, max_displacement : max_displacement + rows, max_displacement : max_displacement + columns]
    channels = []
    for top in steps:
        for left in steps:
            other = two[:, :, top : top + rows, left : left + columns]
            compared = place * other if is_multiply else (place - other).abs()
            channels.append(F.avg_pool2d(compared.mean(1, keepdim=True), kernel_size, stride1))
    return torch.cat(channels, 1)
