"""Named cases of psroi_pool and roi_pool, and how one is run here and in MXNet."""

from dataclasses import dataclass

import numpy as np
import roi_cases
import torch

from torch_port import ops


@dataclass(frozen=True)
class Case:
    """RoIs on maps of one size; `spatial_scale` is feature px / image px."""

    rois: np.ndarray
    height: int = 7
    width: int = 9
    batch: int = 1
    spatial_scale: float = 0.125


@dataclass(frozen=True)
class PsroiCase(Case):
    output_dim: int = 3
    group_size: int = 2
    pooled_size: int = 3

    def parameters(self) -> dict:
        names = ("spatial_scale", "output_dim", "group_size", "pooled_size")
        return {name: getattr(self, name) for name in names}

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """input, head gradient; values exact in float32."""
        rng = np.random.default_rng(2)
        channels = self.output_dim * self.group_size**2
        input = rng.standard_normal((self.batch, channels, self.height, self.width)).astype(np.float32)
        head = rng.standard_normal((len(self.rois), self.output_dim, self.pooled_size, self.pooled_size))
        return input, head.astype(np.float32)


@dataclass(frozen=True)
class RoiCase(Case):
    channels: int = 3
    pooled_size: tuple[int, int] = (3, 3)
    steps: int | None = None  # values rounded to 1/steps, so that maxima tie

    def parameters(self) -> dict:
        return dict(spatial_scale=self.spatial_scale, pooled_size=self.pooled_size)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """input, head gradient; values exact in float32."""
        rng = np.random.default_rng(3)
        input = rng.standard_normal((self.batch, self.channels, self.height, self.width)).astype(np.float32)
        if self.steps is not None:
            input = np.round(input * self.steps) / np.float32(self.steps)
        return input, rng.standard_normal((len(self.rois), self.channels, *self.pooled_size)).astype(np.float32)


SMALL = (56.0, 72.0)  # image of the 7 x 9 map at scale 1/8
PSROI_NETWORK = dict(height=38, width=63, spatial_scale=0.0625, group_size=7, pooled_size=7)
PSROI_CASES = {
    "rfcn_class_scores_1029_channels": PsroiCase(roi_cases.scattered(12, 600, 1000), output_dim=21, **PSROI_NETWORK),
    "rfcn_boxes_392_channels": PsroiCase(roi_cases.scattered(8, 600, 1000, seed=1), output_dim=8, **PSROI_NETWORK),
    "rois_at_half_pixels": PsroiCase(roi_cases.halves(*SMALL)),
    "rois_outside": PsroiCase(roi_cases.outside(*SMALL)),
    "tiny_rois": PsroiCase(roi_cases.tiny(*SMALL)),
    "whole_image": PsroiCase(roi_cases.whole(*SMALL), pooled_size=4),
    "reversed_corners": PsroiCase(roi_cases.reversed_corners(*SMALL)),
    "group_smaller_than_pooled": PsroiCase(roi_cases.scattered(5, *SMALL), group_size=3, pooled_size=7),
    "group_larger_than_pooled": PsroiCase(roi_cases.scattered(5, *SMALL), group_size=5, pooled_size=3),
    "group_1": PsroiCase(roi_cases.scattered(5, *SMALL), group_size=1, output_dim=6),
    "batch_of_3_images": PsroiCase(roi_cases.scattered(9, *SMALL, batch=3), batch=3, output_dim=5),
    "tall_map": PsroiCase(roi_cases.scattered(6, 160, 40), height=20, width=5),
    "scale_not_exact_in_float32": PsroiCase(roi_cases.scattered(6, 60, 80), spatial_scale=0.11),
    "bin_edges_on_cells": PsroiCase(np.float32([[0, 8, 8, 31, 31], [0, 0, 0, 47, 23], [0, 16, 8, 39, 55]])),
    "pooled_1": PsroiCase(roi_cases.scattered(6, *SMALL), pooled_size=1),
}
ROI_NETWORK = dict(height=38, width=63, spatial_scale=0.0625, pooled_size=(7, 7))
ROI_CASES = {
    "faster_rcnn_256_channels": RoiCase(roi_cases.scattered(10, 600, 1000), channels=256, **ROI_NETWORK),
    "channels_that_do_not_fill_vectors_100": RoiCase(
        roi_cases.scattered(8, 600, 1000, seed=1), channels=100, **ROI_NETWORK
    ),
    "rois_at_half_pixels": RoiCase(roi_cases.halves(*SMALL)),
    "rois_at_half_cells": RoiCase(np.float32([[0, 4, 12, 36, 44], [0, 20, 4, 52, 28], [0, -4, -12, 28, 36]])),
    "rois_outside": RoiCase(roi_cases.outside(*SMALL)),
    "tiny_rois": RoiCase(roi_cases.tiny(*SMALL)),
    "whole_image": RoiCase(roi_cases.whole(*SMALL), pooled_size=(4, 4)),
    "reversed_corners": RoiCase(roi_cases.reversed_corners(*SMALL)),
    "oblong_output": RoiCase(roi_cases.scattered(5, *SMALL), pooled_size=(2, 5)),
    "pooled_larger_than_roi": RoiCase(roi_cases.scattered(5, *SMALL), pooled_size=(14, 14)),
    "batch_of_3_images": RoiCase(roi_cases.scattered(9, *SMALL, batch=3), batch=3),
    "tall_map": RoiCase(roi_cases.scattered(6, 160, 40), height=20, width=5),
    "scale_not_exact_in_float32": RoiCase(roi_cases.scattered(6, 70, 90), spatial_scale=0.1),
    "tied_maxima": RoiCase(roi_cases.scattered(8, *SMALL), steps=1, pooled_size=(2, 2)),
    "pooled_1": RoiCase(roi_cases.scattered(6, *SMALL), pooled_size=(1, 1), channels=70),
}
CASES: dict[str, dict[str, Case]] = {"psroi_pool": PSROI_CASES, "roi_pool": ROI_CASES}
OPERATORS = {"psroi_pool": ops.psroi_pool, "roi_pool": ops.roi_pool}


def run_ours(operator: str, case: Case, dtype: type) -> dict[str, np.ndarray]:
    input, head = (torch.from_numpy(a.astype(dtype)) for a in case.arrays())
    input.requires_grad_()
    output = OPERATORS[operator](input, torch.from_numpy(case.rois.astype(dtype)), **case.parameters())
    (gradient,) = torch.autograd.grad(output, input, head)
    return {"output": output.detach().numpy(), "grad_input": gradient.numpy()}


def run_mxnet(operator: str, case: Case, dtype: type) -> dict[str, np.ndarray]:
    import mxnet as mx

    function = {"psroi_pool": mx.nd.contrib.PSROIPooling, "roi_pool": mx.nd.ROIPooling}[operator]
    input, head = (mx.nd.array(a, dtype=dtype) for a in case.arrays())
    input.attach_grad()
    with mx.autograd.record():
        output = function(input, mx.nd.array(case.rois, dtype=dtype), **case.parameters())
    output.backward(head)
    return {"output": output.asnumpy(), "grad_input": input.grad.asnumpy()}
