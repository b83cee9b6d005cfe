"""Which elements stand on a kink: their samples fall into another bilinear cell in float32 than in float64.

There the function itself jumps (offset gradients everywhere, values at the border), so float64 is no truth for float32.
The masks here say which elements of which quantity that concerns; judge.py sets them apart.
"""

import numpy as np

from dcn_suite.parity.segments import Segment

Masks = dict[str, np.ndarray]
DEFORMABLE_CONVOLUTIONS = ("_contrib_DeformableConvolution", "_contrib_ModulatedDeformableConvolution")
NEAR_ULPS = 8  # RoI positions are sums of four terms, which compilers may contract: this near to a kink counts as on it


def kink_masks(segment: Segment, inputs: dict[str, np.ndarray]) -> Masks:
    """Masks by quantity ("output" or entry key or parameter name), broadcastable to it; empty where nothing is on a kink.

    Args: inputs: float32, by entry key.
    """
    if segment.op in DEFORMABLE_CONVOLUTIONS:
        return conv_masks(segment, *(inputs[key] for key in segment.inputs[:2]))
    if segment.op == "ROIPooling":
        return max_pool_masks(segment, *(inputs[key] for key in segment.inputs))
    if segment.op == "_contrib_DeformablePSROIPooling":
        return pool_masks(segment, *(inputs[key] for key in segment.inputs))
    return {}


def numbers(text: str) -> tuple[int, ...]:
    """ "(2, 2)" -> (2, 2)."""
    return tuple(int(part) for part in text.strip("()[] ").split(",") if part.strip())


def conv_base(segment: Segment, out_h: int, out_w: int) -> np.ndarray:
    """[K, 2, OH, OW] sampling positions without offsets, y then x."""
    attrs = segment.attrs
    kernel = numbers(attrs["kernel"])
    stride, pad, dilate = (numbers(attrs.get(name, default)) for name, default in DEFAULTS)
    y = (np.arange(out_h) * stride[0] - pad[0])[None, :] + (np.arange(kernel[0]) * dilate[0])[:, None]
    x = (np.arange(out_w) * stride[1] - pad[1])[None, :] + (np.arange(kernel[1]) * dilate[1])[:, None]
    base = np.empty((kernel[0], kernel[1], 2, out_h, out_w))
    base[:, :, 0] = y[:, None, :, None]
    base[:, :, 1] = x[None, :, None, :]
    return base.reshape(-1, 2, out_h, out_w)


DEFAULTS = (("stride", "(1, 1)"), ("pad", "(0, 0)"), ("dilate", "(1, 1)"))


def conv_positions(segment: Segment, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, G, K, 2, OH, OW] positions in float32, as the operators add them, and in float64."""
    n, channels, out_h, out_w = offset.shape
    base = conv_base(segment, out_h, out_w)
    moves = offset.reshape(n, channels // base[:, :, 0, 0].size, *base.shape)
    return base.astype(np.float32) + moves.astype(np.float32), base + moves.astype(np.float64)


def exact_offset(segment: Segment, offset: np.ndarray) -> np.ndarray:
    """Float64 offsets that reach, without rounding, the very positions that float32 arithmetic reaches with `offset`."""
    single, _ = conv_positions(segment, offset)
    base = conv_base(segment, *offset.shape[2:])
    return (single.astype(np.float64) - base).reshape(offset.shape)


def conv_masks(segment: Segment, data: np.ndarray, offset: np.ndarray) -> Masks:
    """A deformable convolution: data [N, C, H, W], offset [N, 2*G*K, OH, OW]."""
    single, double = conv_positions(segment, offset)
    crossing = (np.floor(single) != np.floor(double)).any(axis=3)  # [N, G, K, OH, OW]
    if not crossing.any():
        return {}
    height, width = data.shape[2:]
    data_key, offset_key = segment.inputs[:2]
    masks = {
        "output": crossing.any(axis=(1, 2))[:, None],
        offset_key: np.repeat(crossing[:, :, :, None], 2, axis=3).reshape(offset.shape),
    }
    touched = np.zeros((len(data), 1, height, width), bool)
    image = np.nonzero(crossing)[0]
    where = np.moveaxis(single, 3, -1)[crossing]
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y = np.clip(np.round(where[:, 0]) + dy, 0, height - 1).astype(int)
            x = np.clip(np.round(where[:, 1]) + dx, 0, width - 1).astype(int)
            touched[image, 0, y, x] = True
    masks[data_key] = touched
    limits = np.array([height, width], np.float64)[:, None, None]
    inside = [((each >= 0) & (each < limits)).all(axis=3) for each in (single, double)]
    if (
        inside[0] != inside[1]
    ).any():  # a sample enters the image: the value jumps, and every weight's gradient with it
        masks |= {name: np.ones((1, 1, 1, 1), bool) for name in segment.parameters if name.endswith("_weight")}
    return masks


def pool_positions(segment: Segment, rois: np.ndarray, trans: np.ndarray | None, dtype: type) -> np.ndarray:
    """[2, R, T, P, P, S] sampling positions in feature pixels, x then y, in the operator's own order of operations.

    Source: MXNet 1.9.1 _contrib_DeformablePSROIPooling.
    """
    attrs = segment.attrs
    pooled, samples = int(attrs["pooled_size"]), int(attrs.get("sample_per_part", 1))
    part = int(attrs.get("part_size", 0)) or pooled
    scale = dtype(attrs["spatial_scale"])
    corners = np.sign(rois[:, 1:]) * np.floor(np.abs(rois[:, 1:]) + 0.5)
    start = corners[:, :2].astype(dtype) * scale - dtype(0.5)
    end = (corners[:, 2:].astype(dtype) + dtype(1)) * scale - dtype(0.5)
    size = np.maximum(end - start, dtype(0.1))
    bin_size = size / dtype(pooled)
    sub_bin = bin_size / dtype(samples)
    cell = np.arange(pooled) * part // pooled
    if trans is None:
        moves = np.zeros((len(rois), 1, 2, pooled, pooled), dtype)
    else:
        moves = trans.reshape(len(rois), trans.shape[1] // 2, 2, part, part)[:, :, :, cell][..., cell].astype(dtype)
        moves = moves * dtype(np.float32(attrs.get("trans_std", 0)))  # MXNet keeps it as float32 in both precisions
    steps = np.arange(samples).astype(dtype)
    places = []
    for axis in (0, 1):
        bins = np.arange(pooled).astype(dtype)
        bins = bins[None, :] if axis == 0 else bins[:, None]
        per_roi = (slice(None), axis, None, None, None)
        first = np.broadcast_to(bins, (pooled, pooled)) * bin_size[per_roi] + start[per_roi]
        first = first + moves[:, :, axis] * size[per_roi]
        places.append(first[..., None] + steps * sub_bin[per_roi][..., None])
    return np.stack(places)


def pool_masks(segment: Segment, data: np.ndarray, rois: np.ndarray, trans: np.ndarray | None = None) -> Masks:
    """A deformable RoI pooling: data [N, D*g*g, H, W], rois [R, 5], trans [R, 2*T, part, part] or none."""
    single = pool_positions(segment, rois, trans, np.float32)
    double = pool_positions(segment, rois, trans, np.float64)
    limits = np.array(data.shape[:1:-1], np.float64).reshape(2, 1, 1, 1, 1, 1) - 0.5
    away = np.abs(double - np.round(double))
    near = (away > 0) & (away < NEAR_ULPS * 2.0**-24 * np.maximum(np.abs(double), 1))
    # exactly on a pixel the operator takes no neighbour at all, and its gradient is 0
    crossing = near | (np.floor(single) != np.floor(double)) | (np.ceil(single) != np.ceil(double))
    jumping = ((single < -0.5) != (double < -0.5)) | ((single > limits) != (double > limits))
    edge = np.minimum(np.abs(double + 0.5), np.abs(double - limits))
    jumping |= (edge > 0) & (edge < NEAR_ULPS * 2.0**-24 * np.maximum(np.abs(double), 1))
    masks: Masks = {}
    on_kink = (crossing | jumping).any(axis=(0, 5))  # [R, T, P, P]
    if trans is not None and on_kink.any():
        masks[segment.inputs[2]] = _per_part(segment, on_kink, trans.shape)
    bins = jumping.any(axis=(0, 5))
    if bins.any():
        per_class = int(segment.attrs["output_dim"]) // bins.shape[1]
        masks["output"] = np.repeat(bins, per_class, axis=1)
        masks[segment.inputs[0]] = _touched(double, bins, rois, data.shape)
    return masks


def bin_edges(segment: Segment, rois: np.ndarray, dtype: type) -> np.ndarray:
    """[R, 2, P, 2] first cell and first cell beyond of every bin, x then y, before clipping, as MXNet 1.9.1 ROIPooling."""
    side, _ = numbers(segment.attrs["pooled_size"])
    scaled = rois[:, 1:].astype(dtype) * dtype(np.float32(segment.attrs["spatial_scale"]))
    corners = np.sign(scaled) * np.floor(np.abs(scaled) + dtype(0.5))
    size = np.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)[..., None] / dtype(side)
    bins = np.arange(side).astype(dtype)
    first = np.floor(bins * size) + corners[:, :2, None]
    beyond = np.ceil((bins + 1) * size) + corners[:, :2, None]
    return np.stack([first, beyond], axis=-1)


def rois_of_other_cells(segment: Segment, rois: np.ndarray) -> np.ndarray:
    """[R] whether ROIPooling takes other cells for a RoI [R, 5] in float32 than in float64.

    MXNet 1.9.1 ends the last bin at ceil(7 * (cells / 7)): for 29, 57 and 58 cells the product is not that whole number in
    one of the precisions, and the bin has a row or column more there.
    """
    single, double = (bin_edges(segment, rois, dtype) for dtype in (np.float32, np.float64))
    return (single != double).any(axis=(1, 2, 3))


def max_pool_masks(segment: Segment, data: np.ndarray, rois: np.ndarray) -> Masks:
    """ROIPooling: data [N, C, H, W], rois [R, 5]: bins that have other cells in float32 than in float64."""
    single, double = (bin_edges(segment, rois, dtype) for dtype in (np.float32, np.float64))
    differ = (single != double).any(axis=-1)  # [R, 2, P]
    bins = differ[:, 1, :, None] | differ[:, 0, None, :]
    if not bins.any():
        return {}
    limits = np.array(data.shape[:1:-1]).reshape(1, 2, 1)
    first = np.clip(np.minimum(single[..., 0], double[..., 0]), 0, limits).astype(int)
    beyond = np.clip(np.maximum(single[..., 1], double[..., 1]), 0, limits).astype(int)
    touched = np.zeros((len(data), 1, *data.shape[2:]), bool)
    for roi, row, column in np.argwhere(bins):
        window = slice(first[roi, 1, row], beyond[roi, 1, row]), slice(first[roi, 0, column], beyond[roi, 0, column])
        touched[(int(rois[roi, 0]), 0, *window)] = True
    return {"output": bins[:, None], segment.inputs[0]: touched}


def _per_part(segment: Segment, bins: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[R, T, P, P] bins -> [R, 2*T, part, part], where the offsets of a part move several bins."""
    pooled, part = bins.shape[-1], shape[-1]
    cell = np.arange(pooled) * part // pooled
    parts = np.zeros((bins.shape[0], bins.shape[1], part, part), bool)
    row, column = np.meshgrid(cell, cell, indexing="ij")
    np.logical_or.at(parts, (slice(None), slice(None), row, column), bins)
    return np.repeat(parts, 2, axis=1)


def _touched(positions: np.ndarray, bins: np.ndarray, rois: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[N, 1, H, W] pixels that a sample of one of the bins reads."""
    touched = np.zeros((shape[0], 1, *shape[2:]), bool)
    for index in np.argwhere(bins):
        x, y = positions[(slice(None), *index)]
        rows, columns = (
            np.unique(np.clip(np.concatenate([np.floor(v), np.ceil(v)]), 0, side - 1)).astype(int)
            for v, side in ((y, shape[2]), (x, shape[3]))
        )
        touched[int(rois[index[0], 0]), 0, rows[:, None], columns[None, :]] = True
    return touched
