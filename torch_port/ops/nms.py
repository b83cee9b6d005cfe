"""Non-maximum suppression; kernel in csrc/cpu/nms.cpp."""

import torch
from torch import Tensor

from torch_port.ops import library  # noqa: F401  loads the kernels
from torch_port.ops.arguments import check_float32_or_float64, check_like, refuse
from torch_port.ops.transforms import LIBRARY, below_autograd, register_autograd_kernel


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best box, drop those that overlap it too much, and so on.

    Args:
        boxes: [N, 4] = x1, y1, x2, y2, far edge inclusive: a box one pixel wide has x2 == x1 (torchvision's has not).
        scores: [N]; equal scores keep their order, NaN comes last.
        iou_threshold: a box is dropped when its IoU with a kept one is greater than this.
    Returns: [K] int64, indices of the kept boxes, best first. No gradient.
    Raises: RuntimeError that names the argument, what was expected and what came.
    Source: the suppression inside MXNet 1.9.1's Proposal; the original's `lib/nms/nms.py`.
    """
    return torch.ops.dcn.nms(boxes, scores, iou_threshold)


@torch.library.register_fake("dcn::nms", lib=LIBRARY)
def _(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        refuse("nms", f"boxes: expected [N, 4] = x1, y1, x2, y2, got {list(boxes.shape)}")
    if scores.dim() != 1 or scores.shape[0] != boxes.shape[0]:
        refuse("nms", f"scores: expected [{boxes.shape[0]}], got {list(scores.shape)}")
    check_float32_or_float64("nms", "boxes", boxes)
    check_like("nms", "scores", scores, "boxes'", boxes)
    kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty(kept, dtype=torch.int64)


def autograd_kernel(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return below_autograd(torch.ops.dcn.nms, boxes, scores, iou_threshold)


register_autograd_kernel("nms", autograd_kernel)
