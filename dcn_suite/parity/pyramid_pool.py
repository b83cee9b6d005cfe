"""The node fpn_roi_pooling: RoIs level by level, and which of its numbers stand on a kink.

It finds the offsets of its bins itself, so that float32 and float64 know different ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dcn_suite.parity.kinks import Masks, max_pool_masks, numbers, pool_positions, rois_of_other_cells
from dcn_suite.parity.segments import Segment
from dcn_tasks.pyramid import levels_of


@dataclass(frozen=True)
class PyramidPool:
    """What a node fpn_roi_pooling says of itself."""

    strides: tuple[int, ...]
    pooled_size: int
    output_dim: int
    level_side: float
    deformable: bool

    @staticmethod
    def of(segment: Segment) -> "PyramidPool":
        attrs = {"pooled_height": "7", "output_dim": "256", "level_side": "224", **segment.attrs}
        return PyramidPool(
            numbers(attrs.get("feat_strides", "(4, 8, 16, 32)")), int(attrs["pooled_height"]), int(attrs["output_dim"]),
            float(attrs["level_side"]), attrs.get("with_deformable") == "True",
        )  # fmt: skip

    def rows(self, rois: np.ndarray) -> dict[int, np.ndarray]:
        """Rows of the RoIs of every level."""
        level = levels_of(rois, len(self.strides), self.level_side)
        return {index: np.flatnonzero(level == index) for index in range(len(self.strides))}

    def at_level(self, segment: Segment, index: int) -> Segment:
        """One level's pooling as if it were a node of its own: of DeformablePSROIPooling, or of ROIPooling."""
        attrs = {"spatial_scale": str(1 / self.strides[index])}
        if self.deformable:
            attrs |= {"pooled_size": str(self.pooled_size), "sample_per_part": "4", "trans_std": "0.1"}
            attrs["output_dim"] = str(self.output_dim)
        else:
            attrs["pooled_size"] = f"({self.pooled_size}, {self.pooled_size})"
        return replace(segment, attrs=attrs, inputs=(segment.inputs[index], segment.inputs[-1]))


def pyramid_masks(segment: Segment, inputs: dict[str, np.ndarray], outputs: Sequence[np.ndarray]) -> Masks:
    """Masks by quantity, as kinks.kink_masks. Args: inputs: float32. outputs: MXNet's, float32."""
    pool, rois = PyramidPool.of(segment), inputs[segment.inputs[-1]]
    masks: Masks = {}
    apart = np.zeros((len(rois), 1, pool.pooled_size, pool.pooled_size), bool)
    for index, rows in pool.rows(rois).items():
        level, key = pool.at_level(segment, index), segment.inputs[index]
        if pool.deformable:
            apart[rows] = entering(level, inputs[key], rois[rows], outputs[1][rows])
        else:
            own = max_pool_masks(level, inputs[key], rois[rows])
            apart[rows] = own.pop("output", False)
            masks |= own
    return masks | ({"output": apart} if apart.any() else {})


def pyramid_rois_of_other_cells(segment: Segment, rois: np.ndarray) -> np.ndarray:
    """As kinks.rois_of_other_cells, every RoI on its own level; none where pooling is deformable."""
    pool = PyramidPool.of(segment)
    found = np.zeros(len(rois), bool)
    if not pool.deformable:
        for index, rows in pool.rows(rois).items():
            found[rows] = rois_of_other_cells(pool.at_level(segment, index), rois[rows])
    return found


def entering(level: Segment, data: np.ndarray, rois: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """[R, 1, 1, 1] RoIs of which a sample is inside the map in one precision alone: there the pooled value itself jumps."""
    limits = np.array(data.shape[:1:-1], np.float64).reshape(2, 1, 1, 1, 1, 1) - 0.5
    positions = [pool_positions(level, rois, offset, dtype) for dtype in (np.float32, np.float64)]
    outside = [(each < -0.5) | (each > limits) for each in positions]
    return (outside[0] != outside[1]).any(axis=(0, 2, 3, 4, 5))[:, None, None, None]
