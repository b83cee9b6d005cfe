"""Custom operator `modulated_convolution`: MXNet's ModulatedDeformableConvolution with a gradient on the CPU.

MXNet 1.9.1 has that operator's backward pass on GPUs only. Forward is MXNet's own; backward is written here from the rule,
in NumPy, in the precision of its inputs. `with_cpu_backward` puts it into graphs that are bound with gradients, and only
there: graphs as built hold MXNet's operator.
"""

import json
from typing import Any

import mxnet as mx
import numpy as np

from mxnet_ref.operators.guarded import GuardedOp, GuardedProp, keep_failure
from mxnet_ref.operators.literals import number_tuple

NATIVE = "_contrib_ModulatedDeformableConvolution"
GEOMETRY = {
    "kernel": None,
    "stride": (1, 1),
    "pad": (0, 0),
    "dilate": (1, 1),
    "num_filter": None,
    "num_deformable_group": 1,
}
Array = np.ndarray


def with_cpu_backward(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same graph, names and all, with this operator in the place of MXNet's; the symbol itself where it has none."""
    content = json.loads(symbol.tojson())
    found = [node for node in content["nodes"] if node["op"] == NATIVE]
    for node in found:
        attrs = {name: value for name, value in node["attrs"].items() if name in GEOMETRY}
        node.update(op="Custom", attrs={"op_type": "modulated_convolution", **attrs})
    return mx.sym.load_json(json.dumps(content)) if found else symbol


def gradients(
    data: Array,
    offset: Array,
    mask: Array,
    weight: Array,
    head: Array,
    *,
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilate: tuple[int, int],
) -> tuple[Array, Array, Array, Array]:
    """Gradients of data, offset, mask and weight for `head` [N, F, OH, OW] from above, in the inputs' precision.

    Args: data [N, C, H, W]; offset [N, 2*G*K, OH, OW], y before x; mask [N, G*K, OH, OW]; weight [F, C, kh, kw].
    Source: MXNet 1.9.1 contrib/nn/modulated_deformable_im2col: a sample counts where -1 < y < H and -1 < x < W, its four
        corners where they are inside the map.
    """  # fmt: skip
    n, c, height, width = data.shape
    taps = weight.shape[2] * weight.shape[3]
    groups, (out_h, out_w) = mask.shape[1] // taps, mask.shape[2:]
    rows, columns = np.divmod(np.arange(taps), weight.shape[3])
    y0 = (rows * dilate[0])[:, None] + (np.arange(out_h) * stride[0] - pad[0])[None]
    x0 = (columns * dilate[1])[:, None] + (np.arange(out_w) * stride[1] - pad[1])[None]
    moves = offset.reshape(n, groups, taps, 2, out_h, out_w)
    y = y0[:, :, None].astype(data.dtype) + moves[:, :, :, 0]  # [N, G, K, OH, OW]
    x = x0[:, None, :].astype(data.dtype) + moves[:, :, :, 1]
    counts = (y > -1) & (y < height) & (x > -1) & (x < width)
    low_y, low_x = np.floor(np.where(counts, y, 0)), np.floor(np.where(counts, x, 0))
    part_y, part_x = np.where(counts, y, 0) - low_y, np.where(counts, x, 0) - low_x
    maps = data.reshape(n, groups, c // groups, height * width)
    # from above, before the weights: [N, G, C/G, K, OH, OW]
    above = np.tensordot(head, weight.reshape(len(weight), c, taps), axes=(1, 0))  # [N, OH, OW, C, K]
    above = above.transpose(0, 3, 4, 1, 2).reshape(n, groups, c // groups, taps, out_h, out_w)
    scale = mask.reshape(n, groups, taps, out_h, out_w)
    sample = np.zeros_like(above)
    d_data = np.zeros_like(maps)
    d_y, d_x = np.zeros_like(y), np.zeros_like(x)
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = (low_y + dy).astype(int), (low_x + dx).astype(int)
            inside = counts & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = np.where(inside, row * width + column, 0)[:, :, None]  # [N, G, 1, K, OH, OW]
            flat = np.broadcast_to(place, above.shape).reshape(*maps.shape[:3], -1)
            pixel = np.take_along_axis(maps, flat, axis=3).reshape(above.shape) * inside[:, :, None]
            weight_y, weight_x = part_y if dy else 1 - part_y, part_x if dx else 1 - part_x
            share = (weight_y * weight_x * inside)[:, :, None]
            sample += share * pixel
            towards = (above * pixel).sum(axis=2) * scale
            d_y += towards * weight_x * (1 if dy else -1)
            d_x += towards * weight_y * (1 if dx else -1)
            given = (above * share * scale[:, :, None]).reshape(*maps.shape[:3], -1)
            indices = np.indices(maps.shape[:3], sparse=True)
            np.add.at(d_data, (*(index[..., None] for index in indices), flat), given)
    d_mask = (above * sample).sum(axis=2)
    masked = (sample * scale[:, :, None]).reshape(n, c, taps, out_h, out_w)
    d_weight = np.tensordot(head, masked, axes=((0, 2, 3), (0, 3, 4)))  # [F, C, K]
    d_offset = np.stack((d_y, d_x), axis=3).reshape(offset.shape)
    return d_data.reshape(data.shape), d_offset, d_mask.reshape(mask.shape), d_weight.reshape(weight.shape)


class ModulatedConvolution(GuardedOp):
    name = "modulated_convolution"

    def __init__(self, settings: dict[str, Any]):
        super().__init__()
        self.settings = settings

    def compute(self, inputs):
        arrays = [mx.nd.array(value, dtype=value.dtype) for value in inputs]
        return [mx.nd.contrib.ModulatedDeformableConvolution(*arrays, no_bias=True, **self.settings).asnumpy()]

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        arrays = [array.asnumpy() for array in (*in_data, out_grad[0])]
        geometry = {name: self.settings[name] for name in ("stride", "pad", "dilate")}
        try:
            found = gradients(*arrays, **geometry)
        except Exception as error:
            keep_failure(self.name, error)
            found = [np.zeros(array.shape, array.dtype) for array in arrays[:-1]]
        for gradient, how, value in zip(in_grad, req, found, strict=True):
            self.assign(gradient, how, mx.nd.array(value, dtype=gradient.dtype))


@mx.operator.register("modulated_convolution")
class ModulatedConvolutionProp(GuardedProp):
    """Inputs data, offset, mask, weight as MXNet's operator without bias; attributes as its own, as text."""

    def __init__(self, **attrs):
        super().__init__()
        given = {name: tuple(int(each) for each in number_tuple(text)) for name, text in attrs.items()}
        scalars = ("num_filter", "num_deformable_group")
        self.settings = GEOMETRY | {name: value[0] if name in scalars else value for name, value in given.items()}

    def list_arguments(self):
        return ["data", "offset", "mask", "weight"]

    def infer_shape(self, in_shape):
        data, offset = in_shape[0], in_shape[1]
        filters = self.settings["num_filter"]
        return (
            [*in_shape[:3], [filters, data[1], *self.settings["kernel"]]],
            [[data[0], filters, *offset[2:]]],
            [],
        )

    def infer_type(self, in_type):
        return [in_type[0]] * len(in_type), [in_type[0]], []

    def create_operator(self, ctx, shapes, dtypes):
        return ModulatedConvolution(self.settings)
