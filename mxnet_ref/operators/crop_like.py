"""Custom operator `crop_like`: what MXNet's Crop of two inputs does, for float64, which Crop does not have.

Not the original's: it stands in graphs built for float64 only.
"""

import mxnet as mx

from mxnet_ref.operators.guarded import GuardedOp, GuardedProp


class CropLike(GuardedOp):
    name = "crop_like"

    def __init__(self, offset: int):
        super().__init__()
        self.offset = offset

    def window(self, like) -> tuple:
        return (..., *(slice(self.offset, self.offset + side) for side in like.shape[2:]))

    def compute(self, inputs):
        data, like = inputs
        return [data[self.window(like)]]

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        super().backward(req, out_grad, in_data, out_data, in_grad, aux)
        gradient = mx.nd.zeros_like(in_grad[0])
        gradient[(slice(None), slice(None), *self.window(in_data[1])[1:])] = out_grad[0]
        self.assign(in_grad[0], req[0], gradient)


@mx.operator.register("crop_like")
class CropLikeProp(GuardedProp):
    """Inputs data [N, C, H, W], like [N, D, h, w]; output [N, C, h, w], from (offset, offset) on."""

    def __init__(self, offset):
        super().__init__()
        self.offset = int(offset)

    def list_arguments(self):
        return ["data", "like"]

    def infer_shape(self, in_shape):
        return in_shape, [[*in_shape[0][:2], *in_shape[1][2:]]], []

    def create_operator(self, ctx, shapes, dtypes):
        return CropLike(self.offset)
