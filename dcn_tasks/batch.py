"""One training example as the arrays that the training graphs take."""

import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.images import to_network_input
from dcn_tasks.network import RESNET, NetworkSpec
from dcn_tasks.pyramid import level_sizes
from dcn_tasks.rpn_targets import assign_anchors, assign_pyramid_anchors
from dcn_tasks.streams import Draws


def feature_size(height: int, width: int, backbone: str = RESNET) -> tuple[int, int]:
    """Rows and columns of the stride-16 map: 7x7/2 convolution, 3x3/2 pooling, two convolutions of stride 2.

    ResNet pools without padding, upwards; torchvision's and Aligned-Inception-ResNet with a pixel of padding all around.
    """

    def side(pixels: int) -> int:
        stem = (pixels + 2 * 3 - 7) // 2 + 1
        pooled = (stem - 1) // 2 + 1 if backbone != RESNET else -(-(stem - 3) // 2) + 1
        return ((pooled - 1) // 2) // 2 + 1

    return side(height), side(width)


def scaled_boxes(boxes: np.ndarray, im_info: np.ndarray) -> np.ndarray:
    """Ground truth boxes [G, 4] at the network's resolution: rounded, then clipped into the image, as in the original."""
    height, width, scale = (float(v) for v in im_info)
    limit = np.array([width - 1, height - 1, width - 1, height - 1])
    return np.clip(np.round(np.asarray(boxes, np.float64) * scale), 0, limit)


def training_batch(image: np.ndarray, gt_boxes: np.ndarray, cfg: Config, draws: Draws) -> dict[str, np.ndarray]:
    """Inputs and labels of the training graph for one image.

    Args: image: RGB uint8 [H, W, 3]; gt_boxes: [G, 5] = (x1, y1, x2, y2, class >= 1), pixels of `image`.
    Returns: float32 data [1, 3, h, w], im_info [1, 3], gt_boxes [1, G, 5], label [1, A*H*W],
        bbox_target and bbox_weight [1, 4A, H, W]; of a pyramid, label [1, sum of A*H*W], the others [1, 4A, sum of H*W].
    """
    data, im_info = to_network_input(image, cfg)
    boxes = np.array(gt_boxes, np.float32).reshape(-1, 5)
    boxes[:, :4] = scaled_boxes(boxes[:, :4], im_info[0])
    spec, train = NetworkSpec.from_config(cfg), cfg.TRAIN
    settings = {
        "scales": spec.anchor_scales,
        "ratios": spec.anchor_ratios,
        "draws": draws,
        "batch_size": train.RPN_BATCH_SIZE,
        "fg_fraction": train.RPN_FG_FRACTION,
        "positive_overlap": train.RPN_POSITIVE_OVERLAP,
        "negative_overlap": train.RPN_NEGATIVE_OVERLAP,
        "clobber_positives": train.RPN_CLOBBER_POSITIVES,
        "bbox_weights": train.RPN_BBOX_WEIGHTS,
        "untouched_positives": cfg.dataset.MODE == "original",
    }
    height, width = data.shape[2:]
    if spec.family == "fpn":
        sizes = level_sizes(height, width)
        targets = assign_pyramid_anchors(sizes, boxes, im_info[0], feature_strides=spec.feature_strides, **settings)
    else:
        size = feature_size(height, width, spec.backbone)
        settings["class_aware"] = spec.family == "class_aware_rpn"
        targets = assign_anchors(*size, boxes, im_info[0], feature_stride=spec.feature_strides[0], **settings)
    return {"data": data, "im_info": im_info, "gt_boxes": boxes[None], **targets}
