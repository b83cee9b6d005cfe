"""The feature pyramid on ResNet's stages, with the original's node names."""

from typing import NamedTuple

import mxnet as mx

from dcn_tasks.network import NetworkSpec
from mxnet_ref.backbone import Backbone

Symbol = mx.sym.Symbol


class Pyramid(NamedTuple):
    """Maps [1, head_width, H, W] at strides 4, 8, 16, 32 and 64."""

    p2: Symbol
    p3: Symbol
    p4: Symbol
    p5: Symbol
    p6: Symbol


def pyramid(stages: Backbone, spec: NetworkSpec) -> Pyramid:
    """1x1 laterals, summed from the top down with the level above enlarged by the nearest pixel, then 3x3; P6 from res5."""
    sources = {"p5": stages.res5, "p4": stages.res4, "p3": stages.res3, "p2": stages.res2}
    laterals = {
        level: mx.sym.Convolution(
            name=f"fpn_{level}_1x1", data=data, kernel=(1, 1), pad=(0, 0), stride=(1, 1), num_filter=spec.head_width
        )
        for level, data in sources.items()
    }
    summed = {"p5": laterals["p5"]}
    for above, level in (("p5", "p4"), ("p4", "p3"), ("p3", "p2")):
        enlarged = mx.sym.UpSampling(summed[above], scale=2, sample_type="nearest", name=f"fpn_{above}_upsample")
        summed[level] = mx.sym.ElementWiseSum(enlarged, laterals[level], name=f"fpn_{level}_sum")

    def output(level: str, data: Symbol, stride: int = 1) -> Symbol:
        return mx.sym.Convolution(
            name=f"fpn_{level}",
            data=data,
            kernel=(3, 3),
            pad=(1, 1),
            stride=(stride, stride),
            num_filter=spec.head_width,
        )

    maps = {"p6": output("p6", stages.res5, stride=2)}
    maps |= {level: output(level, data) for level, data in summed.items()}
    return Pyramid(**maps)
