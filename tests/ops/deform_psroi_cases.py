"""The named calls that deform_psroi_pool is tested on."""

from dataclasses import dataclass

import numpy as np
import roi_cases
import torch

from torch_port.ops import deform_psroi_pool


@dataclass(frozen=True)
class Case:
    """One call: RoIs, sizes and the operator's parameters. classes None: without offsets."""

    rois: np.ndarray
    output_dim: int = 3
    group_size: int = 2
    pooled_size: int = 3
    part_size: int | None = None
    sample_per_part: int = 2
    classes: int | None = 1
    height: int = 7
    width: int = 9
    batch: int = 1
    spatial_scale: float = 0.125
    trans_std: float = 0.1
    offset_scale: float = 1.0

    def parameters(self) -> dict:
        return dict(
            spatial_scale=self.spatial_scale,
            output_dim=self.output_dim,
            group_size=self.group_size,
            pooled_size=self.pooled_size,
            part_size=self.part_size or self.pooled_size,
            sample_per_part=self.sample_per_part,
            trans_std=self.trans_std,
        )

    def arrays(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """input, offset, head gradient; values exact in float32."""
        rng = np.random.default_rng(1)
        channels = self.output_dim * self.group_size**2
        part, pooled, rows = self.part_size or self.pooled_size, self.pooled_size, len(self.rois)
        input = rng.standard_normal((self.batch, channels, self.height, self.width)).astype(np.float32)
        offset = None
        if self.classes is not None:
            offset = rng.standard_normal((rows, 2 * self.classes, part, part)).astype(np.float32) * self.offset_scale
            offset = offset.astype(np.float32)
        head = rng.standard_normal((rows, self.output_dim, pooled, pooled)).astype(np.float32)
        return input, offset, head


SMALL = (56.0, 72.0)  # image of the 7 x 9 map at scale 1/8
NETWORK = dict(height=38, width=63, spatial_scale=0.0625, group_size=7, pooled_size=7, sample_per_part=4)
CASES = {
    "rfcn_class_scores_196_channels": Case(roi_cases.scattered(12, 600, 1000), output_dim=4, classes=4, **NETWORK),
    "rfcn_boxes_392_channels_one_class": Case(
        roi_cases.scattered(8, 600, 1000, seed=1), output_dim=8, classes=1, **NETWORK
    ),
    "rfcn_offsets_98_channels_no_trans": Case(
        roi_cases.scattered(8, 600, 1000, seed=2), output_dim=2, classes=None, trans_std=0.0, **NETWORK
    ),
    "rois_at_half_pixels": Case(roi_cases.halves(*SMALL)),
    "rois_outside": Case(roi_cases.outside(*SMALL), sample_per_part=4),
    "tiny_rois": Case(roi_cases.tiny(*SMALL), sample_per_part=4),
    "whole_image": Case(roi_cases.whole(*SMALL), pooled_size=4, sample_per_part=4),
    "reversed_corners": Case(roi_cases.reversed_corners(*SMALL)),
    "no_trans_sample_1": Case(roi_cases.scattered(6, *SMALL), classes=None, sample_per_part=1),
    "no_trans_sample_4": Case(roi_cases.scattered(6, *SMALL), classes=None, sample_per_part=4),
    "sample_1": Case(roi_cases.scattered(6, *SMALL), sample_per_part=1),
    "many_classes": Case(roi_cases.scattered(6, *SMALL), output_dim=6, classes=3),
    "part_smaller_than_pooled": Case(roi_cases.scattered(5, *SMALL), pooled_size=7, part_size=3),
    "part_larger_than_pooled": Case(roi_cases.scattered(5, *SMALL), pooled_size=3, part_size=7, classes=3),
    "group_smaller_than_pooled": Case(roi_cases.scattered(5, *SMALL), group_size=3, pooled_size=7),
    "group_larger_than_pooled": Case(roi_cases.scattered(5, *SMALL), group_size=5, pooled_size=3),
    "batch_of_3_images": Case(roi_cases.scattered(9, *SMALL, batch=3), batch=3, output_dim=2),
    "tall_map": Case(roi_cases.scattered(6, 160, 40), height=20, width=5),
    "scale_and_std_not_exact_in_float32": Case(roi_cases.scattered(6, 70, 90), spatial_scale=0.1, trans_std=0.3),
    "offsets_throw_samples_out": Case(roi_cases.scattered(6, *SMALL), offset_scale=30.0, sample_per_part=4),
    "zero_offsets": Case(roi_cases.scattered(6, *SMALL), offset_scale=0.0, sample_per_part=4),
    "pooled_1": Case(roi_cases.scattered(6, *SMALL), pooled_size=1, group_size=1, sample_per_part=3),
}


def run_ours(case: Case, dtype: type) -> dict[str, np.ndarray]:
    input, offset, head = (None if a is None else torch.from_numpy(a.astype(dtype)) for a in case.arrays())
    leaves = [input.requires_grad_()] + ([] if offset is None else [offset.requires_grad_()])
    output = deform_psroi_pool(input, torch.from_numpy(case.rois.astype(dtype)), offset, **case.parameters())
    gradients = torch.autograd.grad(output, leaves, head)
    names = ["grad_input", "grad_offset"]
    return {"output": output.detach().numpy(), **{n: g.numpy() for n, g in zip(names, gradients, strict=False)}}
