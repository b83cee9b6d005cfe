"""Maps of another size: upsampling, resizing, cropping, padding, sampling on a grid."""

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.registry import operator


@operator("UpSampling")
def up_sampling(
    *data: Tensor,
    scale: int,
    sample_type: str,
    num_filter: int = 0,
    multi_input_mode: str = "concat",
) -> Tensor:
    """nearest: whole-number enlargement, several maps brought to one size and joined; bilinear: a learned depthwise filter."""
    first = data[0]
    if sample_type == "bilinear":
        side, pad = 2 * scale - scale % 2, -(-(scale - 1) // 2)
        channels = first.shape[1]
        return F.conv_transpose2d(first, data[1].reshape(channels, 1, side, side), None, scale, pad, groups=channels)
    size = [first.shape[2] * scale, first.shape[3] * scale]
    enlarged = [F.interpolate(each, size=size, mode="nearest") for each in data]
    if len(enlarged) == 1:
        return enlarged[0]
    return torch.cat(enlarged, 1) if multi_input_mode == "concat" else torch.stack(enlarged).sum(0)


def resized_side(side: int, scale: float | None, mode: str) -> int:
    """The new length of one side in the modes of BilinearResize2D that have a rule of their own."""
    if mode == "odd_scale":
        return int(side * scale) if side % 2 == 0 else int((side - 1) * scale) + 1
    remainder = 0 if "even" in mode else 1
    return side if side % 2 == remainder else side + (1 if mode.endswith("up") else -1)


def bilinear_places(old: int, new: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper source index and the upper one's weight for each of `new` places on a side of `old`, in float32."""
    target = torch.arange(new, dtype=torch.float32)
    if align_corners or new == 1:  # a single place is the first one, either way
        place = target * (torch.tensor(float(old - 1)) / max(new - 1, 1))
    else:
        scale = (torch.tensor(float(old)) / new).double()
        place = ((target.double() + 0.5) * scale - 0.5).clamp(min=0).float()
    low = place.long()
    return low, (low + 1).clamp(max=old - 1), place - low


def bilinear_as_mxnet(data: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Bilinear resizing whose places and weights are float32, as MXNet's are whatever the data."""
    for axis, new in ((2, size[0]), (3, size[1])):
        low, high, weight = (each.to(data.device) for each in bilinear_places(data.shape[axis], new, align_corners))
        weight = weight.to(data.dtype).reshape([-1 if each == axis else 1 for each in range(4)])
        data = data.index_select(axis, low) * (1 - weight) + data.index_select(axis, high) * weight
    return data


@operator("_contrib_BilinearResize2D")
def bilinear_resize2d(
    data: Tensor,
    like: Tensor | None = None,
    *,
    height: int = 1,
    width: int = 1,
    scale_height: Single | None = None,
    scale_width: Single | None = None,
    mode: str = "size",
    align_corners: bool = True,
) -> Tensor:
    """Bilinear resizing to a size, by factors (rounded down), or like another map; corners on corners by default.

    Places and weights are float32 in float64 too.
    """
    old_height, old_width = data.shape[2:]
    if mode == "like":
        size = tuple(like.shape[2:])
    elif mode != "size":
        size = resized_side(old_height, scale_height, mode), resized_side(old_width, scale_width, mode)
    elif scale_height is not None:
        size = int(old_height * scale_height), int(old_width * scale_width)
    else:
        size = height, width
    if data.dtype == torch.float64 or (1 in size and not align_corners):  # PyTorch takes the middle for a single place
        return bilinear_as_mxnet(data, size, align_corners)
    return F.interpolate(data, size=size, mode="bilinear", align_corners=align_corners)


@operator("Crop")
def crop(
    data: Tensor,
    crop_like: Tensor | None = None,
    *,
    offset: tuple[int, ...] = (0, 0),
    h_w: tuple[int, ...] = (0, 0),
    center_crop: bool = False,
) -> Tensor:
    """A window of size h_w, or of another map's size, at offset (y, x) or in the middle."""
    height, width = h_w if crop_like is None else crop_like.shape[2:]
    top, left = offset
    if center_crop:
        top, left = (data.shape[2] - height) // 2, (data.shape[3] - width) // 2
    return data[:, :, top : top + height, left : left + width]


@operator("Pad", "pad")
def pad(data: Tensor, *, mode: str, pad_width: tuple[int, ...], constant_value: float = 0.0) -> Tensor:
    """pad_width = (before, after) axis by axis from the first; modes constant, edge, reflect."""
    axes = len(pad_width) // 2
    widths = [width for axis in reversed(range(axes)) for width in pad_width[2 * axis : 2 * axis + 2]]
    if mode == "constant":
        return F.pad(data, widths, value=constant_value)
    spatial = widths[: 2 * (axes - 2)]
    return F.pad(data, spatial, mode={"edge": "replicate", "reflect": "reflect"}[mode])


@operator("GridGenerator")
def grid_generator(data: Tensor, *, transform_type: str, target_shape: tuple[int, ...] = (0, 0)) -> Tensor:
    """[N, 6] affine matrices, or [N, 2, H, W] flows in pixels, to a sampling grid [N, 2, H, W] of (x, y) in [-1, 1]."""
    height, width = target_shape if transform_type == "affine" else data.shape[2:]
    like = {"dtype": data.dtype, "device": data.device}
    x = torch.arange(width, **like)
    y = torch.arange(height, **like)
    if transform_type == "warp":
        column = (data[:, 0] + x) * (2.0 / (width - 1)) - 1
        row = (data[:, 1] + y[:, None]) * (2.0 / (height - 1)) - 1
        return torch.stack((column, row), 1)
    x, y = -1 + x * (2.0 / (width - 1)), -1 + y * (2.0 / (height - 1))
    points = torch.stack((x.repeat(height), y.repeat_interleave(width), torch.ones(height * width, **like)))
    return (data.reshape(-1, 2, 3) @ points).reshape(-1, 2, height, width)


@operator("BilinearSampler")
def bilinear_sampler(data: Tensor, grid: Tensor, *, cudnn_off: bool | None = None) -> Tensor:
    """Samples data [N, C, H, W] at grid [N, 2, h, w] of (x, y) in [-1, 1]; zeros outside."""
    return F.grid_sample(data, grid.permute(0, 2, 3, 1), align_corners=True)


@operator("SpatialTransformer")
def spatial_transformer(
    data: Tensor,
    loc: Tensor,
    *,
    target_shape: tuple[int, ...] = (0, 0),
    transform_type: str,
    sampler_type: str,
) -> Tensor:
    """Samples data at the grid of an affine matrix [N, 6]."""
    return bilinear_sampler(data, grid_generator(loc, transform_type=transform_type, target_shape=target_shape))
