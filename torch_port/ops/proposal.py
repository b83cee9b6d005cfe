"""Region proposals from the scores and deltas of a region proposal network; kernel in csrc/cpu/proposal.cpp."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from torch_port.ops import library  # noqa: F401  loads the kernels
from torch_port.ops.arguments import check_float32_or_float64, check_like, refuse
from torch_port.ops.roi_arguments import check_positive
from torch_port.ops.transforms import (
    LIBRARY,
    below_autograd,
    register_autocast_to_float32,
    register_autograd_kernel,
    register_vmap_by_loop,
)

NAME = "proposal"
VARIANTS = ("python", "cxx")


def proposal(
    class_prob: Tensor,
    bbox_delta: Tensor,
    im_info: Tensor,
    *,
    feature_stride: int,
    scales: Sequence[float],
    ratios: Sequence[float],
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_thresh: float,
    min_size: float,
    variant: Literal["python", "cxx"] = "python",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors moved by their deltas, clipped, best first, suppressed; a fixed number of rows per image.

    Args:
        class_prob: [N, 2*A, H, W], A background probabilities, then A of foreground; A = len(scales)*len(ratios),
            ratio-major.
        bbox_delta: [N, 4*A, H, W] = dx, dy (in anchor sizes), dw, dh (log) of each anchor.
        im_info: [N, 3] = height, width (image pixels, padding included), scale.
        feature_stride: image pixels per cell.
        scales: anchor sides in strides; ratios: height / width.
        pre_nms_top_n: best boxes that enter suppression; <= 0: all.
        post_nms_top_n: rows per image.
        nms_thresh: a box is dropped when its IoU with a better one is greater.
        min_size: least side in pixels of the unscaled image (multiplied by im_info's scale).
        variant: "python" is the original's Python operator: float64 arithmetic, cells beyond the image and boxes that
            are too small removed, sides rounded half to even, missing rows drawn at random from the kept ones.
            "cxx" is `mx.contrib.Proposal` (N > 1: MultiProposal): float32 arithmetic, the same boxes kept with score
            -1, sides rounded half up, missing rows repeating the kept ones in turn.
        generator: of the draws of "python"; None: PyTorch's default.
    Returns: rois [N*post, 5] = (image index, x1, y1, x2, y2), far edge inclusive; scores [N*post, 1]; num_valid [N]
        int64: the first num_valid rows of an image are distinct proposals, the rest repeat some of them (all are 0
        where an image has none). No gradient.
    Raises: RuntimeError that names the argument, what was expected and what came.
    Source: original `operator_py/proposal.py`; MXNet 1.9.1 `_contrib_Proposal`, `_contrib_MultiProposal`. Differs: a
        box with NaN counts as too small; "python" without any box gives zeros instead of failing.
    """
    if variant not in VARIANTS:
        refuse(NAME, f'variant: expected "python" or "cxx", got {variant!r}')
    padding = None
    if variant == "python":
        padding = torch.rand(
            (class_prob.shape[0], post_nms_top_n), dtype=class_prob.dtype, device=class_prob.device, generator=generator
        )
    return torch.ops.dcn.proposal(
        class_prob,
        bbox_delta,
        im_info,
        padding,
        feature_stride=feature_stride,
        scales=scales,
        ratios=ratios,
        pre_nms_top_n=pre_nms_top_n,
        post_nms_top_n=post_nms_top_n,
        nms_thresh=nms_thresh,
        min_size=min_size,
        cxx_rules=variant == "cxx",
    )


@torch.library.register_fake("dcn::proposal", lib=LIBRARY)
def _(
    class_prob: Tensor,
    bbox_delta: Tensor,
    im_info: Tensor,
    padding: Tensor | None = None,
    *,
    feature_stride: int,
    scales: Sequence[float],
    ratios: Sequence[float],
    post_nms_top_n: int,
    **_: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    anchors, shape = len(scales) * len(ratios), list(class_prob.shape)
    check_positive(NAME, "feature_stride", feature_stride)
    if anchors == 0:
        refuse(NAME, f"scales, ratios: expected at least one each, got {len(scales)}, {len(ratios)}")
    for name, values in (("scales", scales), ("ratios", ratios)):
        for value in values:
            if not value > 0:
                refuse(NAME, f"{name}: expected positive numbers, got {value:g}")
    if post_nms_top_n < 1:
        refuse(NAME, f"post_nms_top_n: expected at least 1, got {post_nms_top_n}")
    if class_prob.dim() != 4 or shape[1] != 2 * anchors:
        what = f"({anchors} anchors: background, then foreground)"
        refuse(NAME, f"class_prob: expected [N, {2 * anchors}, H, W] {what}, got {shape}")
    expected = [shape[0], 4 * anchors, *shape[2:]]
    if list(bbox_delta.shape) != expected:
        refuse(NAME, f"bbox_delta: expected {expected}, got {list(bbox_delta.shape)}")
    if list(im_info.shape) != [shape[0], 3]:
        refuse(NAME, f"im_info: expected [{shape[0]}, 3] = height, width, scale, got {list(im_info.shape)}")
    if padding is not None and list(padding.shape) != [shape[0], post_nms_top_n]:
        refuse(NAME, f"padding: expected [{shape[0]}, {post_nms_top_n}], got {list(padding.shape)}")
    check_float32_or_float64(NAME, "class_prob", class_prob)
    for name, t in (("bbox_delta", bbox_delta), ("im_info", im_info), ("padding", padding)):
        if t is not None:
            check_like(NAME, name, t, "class_prob's", class_prob)
    rows = shape[0] * post_nms_top_n
    valid = im_info.new_empty(shape[0], dtype=torch.int64)
    return im_info.new_empty(rows, 5), im_info.new_empty(rows, 1), valid


def autograd_kernel(*tensors: Tensor | None, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """No gradient: MXNet's backward writes zeros."""
    return below_autograd(torch.ops.dcn.proposal, *tensors, **kwargs)


register_autograd_kernel("proposal", autograd_kernel)
register_vmap_by_loop("proposal")
register_autocast_to_float32("proposal")
