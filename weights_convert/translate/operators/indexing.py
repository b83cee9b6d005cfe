"""Looking up, selecting, sorting, masking."""

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.operators.elementwise import DTYPES
from weights_convert.translate.registry import operator


@operator("take")
def take(a: Tensor, indices: Tensor, *, axis: int = 0, mode: str = "clip") -> Tensor:
    """Slices of a along an axis, by number; numbers outside are cut to the range (clip) or wrap around."""
    length, axis = a.shape[axis], axis % a.dim()
    places = indices.long() % length if mode == "wrap" else indices.long().clamp(0, length - 1)
    picked = a.index_select(axis, places.flatten())
    return picked.reshape(a.shape[:axis] + places.shape + a.shape[axis + 1 :])


@operator("batch_take")
def batch_take(a: Tensor, indices: Tensor) -> Tensor:
    """One element of each row."""
    rows = a.reshape(a.shape[0], -1)
    return rows.gather(1, indices.long().clamp(0, rows.shape[1] - 1).reshape(-1, 1)).reshape(indices.shape)


@operator("pick", "choose_element_0index")
def pick(data: Tensor, index: Tensor, *, axis: int | None = -1, keepdims: bool = False, mode: str = "clip") -> Tensor:
    """One element along an axis for each of the other places."""
    if axis is None:
        data, axis = data.flatten(), 0
    length = data.shape[axis]
    places = index.long() % length if mode == "wrap" else index.long().clamp(0, length - 1)
    places = places if places.dim() == data.dim() else places.unsqueeze(axis)
    picked = data.gather(axis, places)
    return picked if keepdims else picked.squeeze(axis)


@operator("gather_nd")
def gather_nd(data: Tensor, indices: Tensor) -> Tensor:
    """data[indices[0], indices[1], ...]."""
    return data[tuple(indices.long())]


@operator("scatter_nd")
def scatter_nd(data: Tensor, indices: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    """Zeros of a shape with data at indices."""
    result = torch.zeros(shape, dtype=data.dtype, device=data.device)
    return result.index_put(tuple(indices.long()), data)


@operator("one_hot")
def one_hot(
    indices: Tensor, *, depth: int, on_value: float = 1.0, off_value: float = 0.0, dtype: str = "float32"
) -> Tensor:
    """on_value at the index, off_value elsewhere, along a new last axis; an index outside gives off_value only."""
    hot = indices.long().unsqueeze(-1) == torch.arange(depth, device=indices.device)
    values = torch.tensor([off_value, on_value], dtype=DTYPES[dtype], device=indices.device)
    return values[hot.long()]


@operator("where")
def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where condition is not 0, else y; a 1-dimensional condition chooses whole rows."""
    chosen = condition != 0
    if chosen.dim() == 1 and x.dim() > 1:
        chosen = chosen.reshape([-1] + [1] * (x.dim() - 1))
    return torch.where(chosen, x, y)


@operator("_contrib_boolean_mask")
def boolean_mask(data: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """Slices along an axis where index is not 0."""
    return data.index_select(axis, torch.nonzero(index.flatten()).flatten())


@operator("topk", outputs=lambda a: 2 if a["ret_typ"] == "both" else 1, decides=True)
def topk(
    data: Tensor,
    *,
    axis: int | None = -1,
    k: int = 1,
    ret_typ: str = "indices",
    is_ascend: bool = False,
    dtype: str = "float32",
) -> Tensor | tuple[Tensor, Tensor]:
    """The k largest (smallest) along an axis: their values, places (as floating-point numbers), both, or a mask."""
    rows = data.flatten() if axis is None else data
    along = 0 if axis is None else axis
    values, places = torch.sort(rows, dim=along, descending=not is_ascend, stable=True)
    count = k if k > 0 else rows.shape[along]
    values, places = values.narrow(along, 0, count), places.narrow(along, 0, count)
    if ret_typ == "value":
        return values
    if ret_typ == "mask":
        return torch.zeros_like(rows).scatter(along, places, 1).reshape(data.shape)
    return (values, places.to(DTYPES[dtype])) if ret_typ == "both" else places.to(DTYPES[dtype])


@operator("sort", decides=True)
def sort(data: Tensor, *, axis: int | None = -1, is_ascend: bool = True) -> Tensor:
    """Sorted along an axis, or flattened."""
    rows = data.flatten() if axis is None else data
    return torch.sort(rows, dim=0 if axis is None else axis, descending=not is_ascend, stable=True).values


@operator("argsort", decides=True)
def argsort(data: Tensor, *, axis: int | None = -1, is_ascend: bool = True, dtype: str = "float32") -> Tensor:
    """Places of the sorted elements, as floating-point numbers."""
    rows = data.flatten() if axis is None else data
    along = 0 if axis is None else axis
    return torch.argsort(rows, dim=along, descending=not is_ascend, stable=True).to(DTYPES[dtype])


def before_length(data: Tensor, sequence_length: Tensor, axis: int) -> Tensor:
    """bool [T, N] (axis 0) or [N, T] with trailing ones: whether a step lies within its sequence."""
    steps = torch.arange(data.shape[axis], device=data.device)
    inside = steps[:, None] < sequence_length.long()[None, :]
    inside = inside if axis == 0 else inside.T
    return inside.reshape(inside.shape + (1,) * (data.dim() - 2))


@operator("SequenceMask")
def sequence_mask(
    data: Tensor,
    sequence_length: Tensor | None = None,
    *,
    use_sequence_length: bool = False,
    value: Single = 0.0,
    axis: int = 0,
) -> Tensor:
    """Steps beyond a sequence's length become value."""
    if not use_sequence_length:
        return data
    return data.masked_fill(~before_length(data, sequence_length, axis), value)


@operator("SequenceLast")
def sequence_last(
    data: Tensor, sequence_length: Tensor | None = None, *, use_sequence_length: bool = False, axis: int = 0
) -> Tensor:
    """The last step of every sequence."""
    steps = data.movedim(axis, 0)
    if not use_sequence_length:
        return steps[-1]
    return steps[sequence_length.long() - 1, torch.arange(steps.shape[1], device=data.device)]


@operator("SequenceReverse")
def sequence_reverse(
    data: Tensor, sequence_length: Tensor | None = None, *, use_sequence_length: bool = False, axis: int = 0
) -> Tensor:
    """Every sequence turned around within its own length."""
    if not use_sequence_length:
        return data.flip(0)
    length = sequence_length.long()[None, :]
    step = torch.arange(data.shape[0], device=data.device)[:, None]
    source = torch.where(step < length, length - 1 - step, step)
    return data[source, torch.arange(data.shape[1], device=data.device)[None, :]]


@operator("_contrib_index_array")
def index_array(data: Tensor, *, axes: tuple[int, ...] | None = None) -> Tensor:
    """The index of every element, int64, along a new last axis."""
    ranges = [torch.arange(length, device=data.device) for length in data.shape]
    grid = torch.stack(torch.meshgrid(*ranges, indexing="ij"), -1)
    return grid if axes is None else grid[..., list(axes)]


@operator("_contrib_arange_like")
def arange_like(
    data: Tensor,
    *,
    start: float = 0.0,
    step: float = 1.0,
    repeat: int = 1,
    axis: int | None = None,
) -> Tensor:
    """start, start + step, ... in data's shape, or as long as one of its axes; each number `repeat` times."""
    count = data.numel() if axis is None else data.shape[axis]
    numbers = start + step * torch.arange(-(-count // repeat), dtype=data.dtype, device=data.device)
    numbers = numbers.repeat_interleave(repeat)[:count]
    return numbers.reshape(data.shape) if axis is None else numbers


@operator("_slice_assign")
def slice_assign(
    lhs: Tensor,
    rhs: Tensor,
    *,
    begin: tuple[int | None, ...],
    end: tuple[int | None, ...],
    step: tuple[int | None, ...] = (),
) -> Tensor:
    """lhs with a window replaced by rhs."""
    steps = tuple(step) + (None,) * (len(begin) - len(step))
    result = lhs.clone()
    result[tuple(slice(*each) for each in zip(begin, end, steps, strict=True))] = rhs
    return result


@operator("_contrib_index_copy")
def index_copy(old_tensor: Tensor, index_vector: Tensor, new_tensor: Tensor) -> Tensor:
    """Rows of one array replaced by those of another."""
    return old_tensor.index_copy(0, index_vector.long(), new_tensor)


@operator("_unravel_index", "unravel_index")
def unravel_index(data: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    """Flat indices to one row for each axis."""
    return torch.stack(torch.unravel_index(data.long(), shape)).to(data.dtype)


@operator("fill_element_0index")
def fill_element_0index(lhs: Tensor, mhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs with one element of each row replaced by mhs."""
    return lhs.scatter(1, rhs.long().unsqueeze(1), mhs.unsqueeze(1))


@operator("im2col")
def im2col(
    data: Tensor,
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...] = (),
    dilate: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
) -> Tensor:
    """Windows as columns: [N, C*kh*kw, windows]."""
    return F.unfold(data, kernel, tuple(dilate) or 1, tuple(pad) or 0, tuple(stride) or 1)
