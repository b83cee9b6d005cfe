"""Initial values of a network's arrays, by the original's names, so that both frameworks start from the same bits."""

import numpy as np

from dcn_tasks.streams import Draws

HEAD_STD = 0.01
HEAD_PREFIXES = (
    *("rpn_", "conv_new_", "rfcn_", "fc_new_", "fc_deform_", "cls_score_", "bbox_pred_", "fpn_"),  # detection
    *("fc6_", "score_", "upsampling_"),  # DeepLab
)
OFFSET_PIECES = (
    "offset_t_",
    "offset_p",
    "offset_weight",
    "offset_bias",
    "fc_deform_3_",
)  # zero at first: training starts from the regular grid


def is_new_layer(name: str) -> bool:
    """Whether an ImageNet backbone has no such array: it belongs to the RPN, the head, or what predicts offsets."""
    return name.startswith(HEAD_PREFIXES) or any(piece in name for piece in OFFSET_PIECES)


def initial_value(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """One array, float32, from its own random stream, so that it does not depend on which others there are.

    New layers N(0, 0.01) with zero biases, offset layers zero, upsampling bilinear; the backbone MSRA's N(0, 2 / fan-in)
    and the identity as normalisation.

    Args: name: the original's, parameter or auxiliary state (`..._moving_mean`, `..._moving_var`).
    Source: the original's init_weight and get_msra_std.
    """
    if any(piece in name for piece in OFFSET_PIECES) or name.endswith(("_bias", "_beta", "_moving_mean")):
        return np.zeros(shape, np.float32)
    if name.endswith(("_gamma", "_moving_var")):
        return np.ones(shape, np.float32)
    if name == "upsampling_weight":
        return np.broadcast_to(bilinear_kernel(shape[-1]), shape).copy()
    std = HEAD_STD if name.startswith(HEAD_PREFIXES) else np.sqrt(2 / np.prod(shape[1:]))
    return normal(name, shape, seed) * np.float32(std)


def normal(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """N(0, 1) float32 from an array's own stream."""
    return Draws(seed).generator(f"init/{name}").standard_normal(shape, np.float32)


def bilinear_kernel(side: int) -> np.ndarray:
    """[side, side] float32 weights of bilinear interpolation by a factor of side / 2.

    Source: MXNet's Bilinear initialiser: f = ceil(side / 2), c = (2f - 1 - f % 2) / (2f), (1 - |i / f - c|) per axis.
    """
    factor = -(-side // 2)
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    line = 1 - np.abs(np.arange(side) / factor - centre)
    return (line[:, None] * line[None, :]).astype(np.float32)
