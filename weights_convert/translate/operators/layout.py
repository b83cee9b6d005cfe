"""Operators that move numbers without changing them."""

import torch
from torch import Tensor

from weights_convert.translate.registry import operator


def code_steps(codes: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Each of MXNet's Reshape codes with the two numbers behind it that a -4 takes (0 for all others)."""
    steps, place = [], 0
    while place < len(codes):
        taken = tuple(codes[place + 1 : place + 3]) if codes[place] == -4 else (0, 0)
        steps.append((codes[place], *taken))
        place += 3 if codes[place] == -4 else 1
    return steps


def product(values: list[int]) -> int:
    result = 1
    for each in values:
        result = result * each
    return result


def reshaped(source: list[int], codes: tuple[int, ...]) -> list[int]:
    """MXNet's Reshape codes: 0 keep, -1 infer, -2 all that remain, -3 merge two, -4 split one into the next two."""
    shape: list[int] = []
    read = 0
    for code, first, second in code_steps(codes):
        if code == -2:
            shape += source[read:]
            read = len(source)
        elif code == -3:
            shape += [source[read] * source[read + 1]]
            read += 2
        elif code == -4:
            shape += [
                source[read] // second if first == -1 else first,
                source[read] // first if second == -1 else second,
            ]
            read += 1
        else:
            shape += [source[read] if code == 0 else code]
            read += 1
    if -1 in shape:
        shape[shape.index(-1)] = product(source) // -product(shape)
    return shape


@operator("Reshape", "reshape")
def reshape(
    data: Tensor,
    *,
    shape: tuple[int, ...] = (),
    reverse: bool = False,
    target_shape: tuple[int, ...] = (),
    keep_highest: bool = False,
) -> Tensor:
    """New shape by the codes 0, -1, -2, -3, -4 (from the right with reverse); target_shape is the old form, 0 infers."""
    if shape:
        source = list(data.shape)
        if not reverse:
            return data.reshape(reshaped(source, shape))
        return data.reshape(reshaped(source[::-1], shape[::-1])[::-1])
    wanted = [-1 if length == 0 else length for length in target_shape]
    if keep_highest:
        wanted[0] = data.shape[0]
    return data.reshape(wanted)


@operator("Flatten", "flatten")
def flatten(data: Tensor) -> Tensor:
    """All axes but the first become one."""
    return data.reshape(data.shape[0], -1)


@operator("transpose")
def transpose(data: Tensor, *, axes: tuple[int, ...] = ()) -> Tensor:
    """Axes in another order; () turns the order around."""
    return data.permute(axes or tuple(range(data.dim()))[::-1])


@operator("expand_dims")
def expand_dims(data: Tensor, *, axis: int) -> Tensor:
    """A new axis of length 1."""
    return data.unsqueeze(axis)


@operator("squeeze")
def squeeze(data: Tensor, *, axis: tuple[int, ...] | None = None) -> Tensor:
    """Without axes of length 1: the named ones, or all (one is left)."""
    result = data.squeeze() if axis is None else data.squeeze(tuple(axis))
    return result.reshape(1) if result.dim() == 0 else result


@operator("SwapAxis", "swapaxes", "SwapAxes")
def swap_axis(data: Tensor, *, dim1: int = 0, dim2: int = 0) -> Tensor:
    """Two axes exchanged."""
    return data.transpose(dim1, dim2)


@operator("Concat", "concat")
def concat(*data: Tensor, dim: int = 1) -> Tensor:
    """Joined along axis 1, or dim. A begin state whose batch MXNet would infer has batch 1, and is repeated."""
    rows = max(each.shape[0] for each in data)
    if dim != 0 and dim != -data[0].dim() and any(each.shape[0] != rows for each in data):
        data = tuple(each.expand([rows, *each.shape[1:]]) for each in data)
    return torch.cat(data, dim)


@operator("_rnn_param_concat")
def rnn_param_concat(*data: Tensor, dim: int = 1) -> Tensor:
    """Joined along dim; the flat parameters of an RNN."""
    return torch.cat(data, dim)


@operator("stack")
def stack(*data: Tensor, axis: int = 0) -> Tensor:
    """Joined along a new axis."""
    return torch.stack(data, axis)


@operator("SliceChannel", "split", outputs=lambda a: a["num_outputs"])
def slice_channel(
    data: Tensor, *, num_outputs: int, axis: int = 1, squeeze_axis: bool = False
) -> Tensor | tuple[Tensor, ...]:
    """Equal parts along an axis (1 by default); squeeze_axis drops the axis when it has become 1."""
    length = data.shape[axis] // num_outputs
    if length * num_outputs != data.shape[axis] or length == 0 or (squeeze_axis and length != 1):
        raise ValueError(
            f"SliceChannel: expected {num_outputs} equal parts, not empty and of 1 if squeezed, got a length of "
            f"{data.shape[axis]} on axis {axis}: is the input of the size that the graph was made for?"
        )
    parts = [data.narrow(axis, place * length, length) for place in range(num_outputs)]
    if squeeze_axis:
        parts = [part.squeeze(axis) for part in parts]
    return parts[0] if num_outputs == 1 else tuple(parts)


@operator("_split_v2", outputs=lambda a: a["sections"] or len(a["indices"]))
def split_v2(
    data: Tensor, *, indices: tuple[int, ...], axis: int = 1, squeeze_axis: bool = False, sections: int = 0
) -> Tensor | tuple[Tensor, ...]:
    """Parts along an axis that begin at `indices` (the first is 0), or so many `sections`, the first ones longer by the rest."""
    starts = list(indices)
    if sections:
        length, rest = data.shape[axis] // sections, data.shape[axis] % sections
        starts = [length * part + min(part, rest) for part in range(sections)]
    ends = [*starts[1:], data.shape[axis]]
    parts = tuple(data.narrow(axis, start, end - start) for start, end in zip(starts, ends, strict=True))
    if squeeze_axis:
        parts = tuple(part.squeeze(axis) for part in parts)
    return parts[0] if len(parts) == 1 else parts


def strided(data: Tensor, axis: int, begin: int | None, end: int | None, step: int | None) -> Tensor:
    """Python's data[begin:end:step] along one axis, negative steps too."""
    if step is None or step > 0:
        return torch.ops.aten.slice(data, axis, begin, end, 1 if step is None else step)
    places = range(data.shape[axis])[slice(begin, end, step)]
    return data.index_select(axis, torch.tensor(list(places), device=data.device, dtype=torch.long))


@operator("slice", "crop")
def slice_all(
    data: Tensor,
    *,
    begin: tuple[int | None, ...],
    end: tuple[int | None, ...],
    step: tuple[int | None, ...] = (),
) -> Tensor:
    """Python's slicing of the first axes: begin, end and step may be None or negative."""
    for axis, (first, last) in enumerate(zip(begin, end, strict=True)):
        data = strided(data, axis, first, last, step[axis] if axis < len(step) else None)
    return data


@operator("slice_axis")
def slice_axis(data: Tensor, *, axis: int, begin: int, end: int | None) -> Tensor:
    """Python's data[begin:end] along one axis."""
    return strided(data, axis % data.dim(), begin, end, None)


@operator("slice_like")
def slice_like(data: Tensor, shape_like: Tensor, *, axes: tuple[int, ...] = ()) -> Tensor:
    """The first elements of data, as many as another array has, along all axes or those named."""
    for axis in axes or tuple(range(data.dim())):
        data = data.narrow(axis, 0, shape_like.shape[axis])
    return data


@operator("reshape_like")
def reshape_like(
    lhs: Tensor,
    rhs: Tensor,
    *,
    lhs_begin: int | None = None,
    lhs_end: int | None = None,
    rhs_begin: int | None = None,
    rhs_end: int | None = None,
) -> Tensor:
    """lhs with the shape of rhs, or with a range of its axes shaped as a range of the other's."""
    left, right = list(lhs.shape), list(rhs.shape)
    before = left[: 0 if lhs_begin is None else lhs_begin]
    after = left[len(left) if lhs_end is None else lhs_end :]
    return lhs.reshape(before + right[rhs_begin:rhs_end] + after)


@operator("broadcast_axis", "broadcast_axes")
def broadcast_axis(data: Tensor, *, axis: tuple[int, ...] = (), size: tuple[int, ...] = ()) -> Tensor:
    """Axes of length 1 repeated to the given sizes."""
    shape = list(data.shape)
    for place, length in zip(axis, size, strict=True):
        shape[place] = length
    return data.expand(shape)


@operator("broadcast_to")
def broadcast_to(data: Tensor, *, shape: tuple[int, ...] = ()) -> Tensor:
    """Repeated to a shape, in which 0 keeps an axis."""
    return data.expand([own if wanted == 0 else wanted for own, wanted in zip(data.shape, shape, strict=True)])


@operator("broadcast_like")
def broadcast_like(
    lhs: Tensor,
    rhs: Tensor,
    *,
    lhs_axes: tuple[int, ...] | None = None,
    rhs_axes: tuple[int, ...] | None = None,
) -> Tensor:
    """Repeated to another array's shape, or only along some axes to the lengths of some of its axes."""
    if not lhs_axes:
        return lhs.expand(rhs.shape)
    shape = list(lhs.shape)
    for place, other in zip(lhs_axes, rhs_axes, strict=True):
        shape[place] = rhs.shape[other]
    return lhs.expand(shape)


@operator("tile")
def tile(data: Tensor, *, reps: tuple[int, ...]) -> Tensor:
    """The whole array repeated along each axis."""
    return torch.tile(data, reps)


@operator("repeat")
def repeat(data: Tensor, *, repeats: int, axis: int | None = None) -> Tensor:
    """Every element repeated in place, along an axis or in the flattened array."""
    return data.flatten().repeat_interleave(repeats) if axis is None else data.repeat_interleave(repeats, axis)


@operator("reverse", "flip")
def reverse(data: Tensor, *, axis: tuple[int, ...]) -> Tensor:
    """Turned around along axes."""
    return data.flip(axis)


@operator("depth_to_space")
def depth_to_space(data: Tensor, *, block_size: int) -> Tensor:
    """[N, b*b*C, H, W] -> [N, C, H*b, W*b]; the block's place is the slowest part of the channel."""
    n, channels, height, width = data.shape
    parts = data.reshape(n, block_size, block_size, channels // block_size**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, height * block_size, width * block_size)


@operator("space_to_depth")
def space_to_depth(data: Tensor, *, block_size: int) -> Tensor:
    """[N, C, H*b, W*b] -> [N, b*b*C, H, W]."""
    n, channels, height, width = data.shape
    parts = data.reshape(n, channels, height // block_size, block_size, width // block_size, block_size)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, height // block_size, width // block_size)


@operator("shape_array")
def shape_array(data: Tensor) -> Tensor:
    """The shape, as int64."""
    return torch.tensor(list(data.shape), dtype=torch.int64, device=data.device)


@operator("size_array")
def size_array(data: Tensor) -> Tensor:
    """The number of elements, as int64 [1]."""
    return torch.tensor([data.numel()], dtype=torch.int64, device=data.device)


@operator("diag")
def diag(data: Tensor, *, k: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """A diagonal of an array, or a matrix with the given diagonal."""
    return torch.diag(data, k) if data.dim() == 1 else torch.diagonal(data, k, axis1, axis2)
