"""Deformable convolution as plain float64 loops, written from the documented rules and sharing no code with the port."""

import math

import numpy as np


def corners(position: float, size: int, border: str) -> list[tuple[int, float, float]]:
    """(index, weight, slope of the weight) of each row that a position reads; empty where it has no value."""
    if not math.isfinite(position):
        return []
    if border == "clamp":
        if position < 0 or position >= size:
            return []
        if position >= size - 1:
            return [(size - 1, 1.0, 0.0)]
    elif position <= -1 or position >= size:
        return []
    low = math.floor(position)
    part = position - low
    both = [(low, 1 - part, -1.0), (low + 1, part, 1.0)]
    return [corner for corner in both if 0 <= corner[0] < size]


def loops(case, arrays: dict, border: str, with_mask: bool) -> dict[str, np.ndarray]:
    """Output and, for arrays["head"] from above, all gradients."""
    a = {name: None if value is None else value.astype(np.float64) for name, value in arrays.items()}
    input, offset, weight, head = a["input"], a["offset"], a["weight"], a["head"]
    mask = a["mask"] if with_mask else np.ones_like(a["mask"])
    output = np.zeros_like(head) + (0 if a["bias"] is None else a["bias"][:, None, None])
    grads = {name: np.zeros_like(a[name]) for name in ("input", "offset", "mask", "weight")}
    outputs, depth = case.out_channels // case.groups, case.channels // case.groups
    for n, g, tap, row, column in np.ndindex(case.batch, case.offset_groups, case.taps, *case.out_size):
        i, j = divmod(tap, case.kernel[1])
        at = (n, 2 * (g * case.taps + tap), row, column)
        x_at = (n, at[1] + 1, row, column)
        y = row * case.stride[0] - case.padding[0] + i * case.dilation[0] + offset[at]
        x = column * case.stride[1] - case.padding[1] + j * case.dilation[1] + offset[x_at]
        mask_at = (n, g * case.taps + tap, row, column)
        for y_index, y_weight, y_slope in corners(y, case.height, border):
            for x_index, x_weight, x_slope in corners(x, case.width, border):
                per_group = case.channels // case.offset_groups
                for c in range(g * per_group, (g + 1) * per_group):
                    first = c // depth * outputs
                    mine = (slice(first, first + outputs), c % depth, i, j)
                    above = head[n, first : first + outputs, row, column]
                    pixel = input[n, c, y_index, x_index]
                    from_above = above @ weight[mine]
                    output[n, first : first + outputs, row, column] += (
                        weight[mine] * pixel * y_weight * x_weight * mask[mask_at]
                    )
                    grads["weight"][mine] += above * pixel * y_weight * x_weight * mask[mask_at]
                    grads["input"][n, c, y_index, x_index] += from_above * y_weight * x_weight * mask[mask_at]
                    grads["offset"][at] += from_above * pixel * y_slope * x_weight * mask[mask_at]
                    grads["offset"][x_at] += from_above * pixel * y_weight * x_slope * mask[mask_at]
                    grads["mask"][mask_at] += from_above * pixel * y_weight * x_weight
    if a["bias"] is not None:
        grads["bias"] = head.sum((0, 2, 3))
    return {"output": output, **grads}
