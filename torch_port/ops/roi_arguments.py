"""Argument checks that the RoI operators share in their fake kernels: the words of csrc/arguments/roi_pooling.h."""

import torch
from torch import Tensor

from torch_port.ops.arguments import FLOATING, check_positions, dtype_text, refuse


def check_positive(operator: str, name: str, value: int) -> None:
    if not 1 <= value <= 32768:
        refuse(operator, f"{name}: expected 1 to 32768, got {value}")


def check_map_and_rois(operator: str, input: Tensor, rois: Tensor) -> None:
    if input.dim() != 4:
        refuse(operator, f"input: expected [N, C, H, W], got {list(input.shape)}")
    if input.device.type == "cpu" and input.dtype not in (torch.float32, torch.float64):
        refuse(operator, f"input: expected float32 or float64 on the CPU, got {dtype_text(input)}")
    if input.dtype not in FLOATING:
        refuse(operator, f"input: expected float32, float64, float16 or bfloat16, got {dtype_text(input)}")
    if rois.dim() != 2 or rois.shape[1] != 5:
        refuse(operator, f"rois: expected [R, 5] = (image index, x1, y1, x2, y2), got {list(rois.shape)}")
    check_positions(operator, "rois", rois, input)


def check_score_maps(operator: str, input: Tensor, output_dim: int, group: int) -> None:
    channels = output_dim * group**2
    if input.shape[1] != channels:
        refuse(operator, f"input: expected output_dim * group_size^2 = {channels} channels, got {input.shape[1]}")
