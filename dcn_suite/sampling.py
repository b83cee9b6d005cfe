"""Where a deformable layer looked: sampling positions of one output pixel, part shifts of one RoI, in image pixels."""

import numpy as np


def deform_conv_points(
    offset: np.ndarray, row: int, column: int, *, stride: int, kernel: int = 3, dilation: int = 1, padding: int = 1
) -> np.ndarray:
    """Sampling positions of one output pixel of a stride-1 deformable convolution.

    Args:
        offset: [2*G*K, H, W] of one image, feature pixels; per group and tap y first, then x.
        row, column: the output pixel.
        stride: image pixels per feature pixel.
        kernel, dilation, padding: of the deformable convolution.
    Returns: [G*K, 2] = (x, y) in image pixels, at the centre of the feature cell.
    Source: MXNet 1.9.1 `_contrib_DeformableConvolution`.
    """
    taps = kernel * kernel
    groups = offset.shape[0] // (2 * taps)
    shift = offset[:, row, column].reshape(groups, taps, 2)
    tap_row, tap_column = np.divmod(np.arange(taps), kernel)
    y = row - padding + tap_row * dilation + shift[..., 0]
    x = column - padding + tap_column * dilation + shift[..., 1]
    return (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride


def compose_points(offsets: list[np.ndarray], row: int, column: int, *, stride: int, dilation: int) -> np.ndarray:
    """Sampling positions through several deformable layers, last layer first: every point of one is a pixel of the next.

    Args: offsets: one [2*G*9, H, W] per layer, the layer nearest the output first. As `deform_conv_points` otherwise.
    Returns: [(G*9)**len(offsets), 2] = (x, y) in image pixels; points that leave the map go no further.
    """
    cells = [(row, column)]
    points = np.zeros((0, 2))
    for offset in offsets:
        found = [deform_conv_points(offset, r, c, stride=stride, dilation=dilation, padding=dilation) for r, c in cells]
        points = np.concatenate(found) if found else points
        height, width = offset.shape[1:]
        rounded = np.unique(np.floor(points[:, ::-1] / stride).astype(int), axis=0)
        inside = (rounded >= 0).all(1) & (rounded[:, 0] < height) & (rounded[:, 1] < width)
        cells = [tuple(cell) for cell in rounded[inside]]
    return points


def part_boxes(roi: np.ndarray, trans: np.ndarray, *, trans_std: float) -> np.ndarray:
    """Boxes of the bins of deformable RoI pooling after their learnt shift.

    Args:
        roi: [4] = x1, y1, x2, y2, image pixels, far edge inclusive.
        trans: [2, P, P], x first, then y, in RoI sizes times 1/trans_std.
    Returns: [P*P, 4] boxes in image pixels.
    """
    x1, y1, x2, y2 = (float(v) for v in roi)
    width, height = x2 - x1 + 1, y2 - y1 + 1
    side = trans.shape[-1]
    gy, gx = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    left = x1 + gx * width / side + trans[0] * trans_std * width
    top = y1 + gy * height / side + trans[1] * trans_std * height
    return np.stack([left, top, left + width / side, top + height / side], axis=-1).reshape(-1, 4)
