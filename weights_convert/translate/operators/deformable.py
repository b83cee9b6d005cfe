"""Deformable convolution, RoI pooling and proposals: the operators of torch_port."""

import torch
from torch import Tensor

from torch_port import ops
from weights_convert.translate.attributes import Single
from weights_convert.translate.operators.dense import per_axis
from weights_convert.translate.registry import operator


@operator("_contrib_DeformableConvolution")
def deformable_convolution(
    data: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel: tuple[int, ...],
    num_filter: int,
    stride: tuple[int, ...] = (),
    dilate: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    num_group: int = 1,
    num_deformable_group: int = 1,
    no_bias: bool = False,
    layout: str | None = None,
) -> Tensor:
    """Deformable convolution with MXNet's border rule (clamp): torch_port.ops.deform_conv2d."""
    geometry = per_axis(stride, 2, 1), per_axis(pad, 2, 0), per_axis(dilate, 2, 1)
    return ops.deform_conv2d(data, offset, weight, None if no_bias else bias, *geometry, border="clamp")


@operator("_contrib_ModulatedDeformableConvolution")
def modulated_deformable_convolution(
    data: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel: tuple[int, ...],
    num_filter: int,
    stride: tuple[int, ...] = (),
    dilate: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    num_group: int = 1,
    num_deformable_group: int = 1,
    no_bias: bool = False,
    im2col_step: int = 64,
    layout: str | None = None,
) -> Tensor:
    """Deformable convolution v2, zeros outside: torch_port.ops.modulated_deform_conv2d."""
    geometry = per_axis(stride, 2, 1), per_axis(pad, 2, 0), per_axis(dilate, 2, 1)
    biases = None if no_bias else bias
    return ops.modulated_deform_conv2d(data, offset, mask, weight, biases, *geometry, border="zeros")


@operator("ROIPooling")
def roi_pooling(data: Tensor, rois: Tensor, *, pooled_size: tuple[int, ...], spatial_scale: Single) -> Tensor:
    """Largest value of each bin of rounded RoIs, far edge inclusive: torch_port.ops.roi_pool."""
    return ops.roi_pool(data, rois, spatial_scale=spatial_scale, pooled_size=pooled_size)


@operator("_contrib_PSROIPooling")
def psroi_pooling(
    data: Tensor, rois: Tensor, *, spatial_scale: Single, output_dim: int, pooled_size: int, group_size: int = 0
) -> Tensor:
    """Mean of each bin in its own channels: torch_port.ops.psroi_pool."""
    return ops.psroi_pool(
        data,
        rois,
        spatial_scale=spatial_scale,
        output_dim=output_dim,
        pooled_size=pooled_size,
        group_size=group_size or pooled_size,
    )


@operator("_contrib_DeformablePSROIPooling")
def deformable_psroi_pooling(
    data: Tensor,
    rois: Tensor,
    trans: Tensor | None = None,
    *,
    spatial_scale: Single,
    output_dim: int,
    group_size: int,
    pooled_size: int,
    part_size: int = 0,
    sample_per_part: int = 1,
    trans_std: Single = 0.0,
    no_trans: bool = False,
) -> Tensor:
    """Mean of samples at learned positions: torch_port.ops.deform_psroi_pool."""
    return ops.deform_psroi_pool(
        data,
        rois,
        None if no_trans else trans,
        spatial_scale=spatial_scale,
        output_dim=output_dim,
        group_size=group_size,
        pooled_size=pooled_size,
        part_size=part_size or pooled_size,
        sample_per_part=sample_per_part,
        trans_std=trans_std,
    )


@operator("_contrib_Proposal", "_contrib_MultiProposal", outputs=lambda a: 2 if a["output_score"] else 1, decides=True)
def proposal(
    cls_prob: Tensor,
    bbox_pred: Tensor,
    im_info: Tensor,
    *,
    rpn_pre_nms_top_n: int = 6000,
    rpn_post_nms_top_n: int = 300,
    threshold: Single = 0.7,
    rpn_min_size: int = 16,
    scales: tuple[Single, ...] = (4.0, 8.0, 16.0, 32.0),
    ratios: tuple[Single, ...] = (0.5, 1.0, 2.0),
    feature_stride: int = 16,
    output_score: bool = False,
    iou_loss: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """RoIs of each image from the RPN's maps: torch_port.ops.proposal, variant cxx."""
    if iou_loss:
        raise ValueError("Proposal: iou_loss=True has no translation")
    wide = torch.promote_types(bbox_pred.dtype, torch.float32)
    rois, scores, _ = ops.proposal(
        cls_prob.to(wide),
        bbox_pred.to(wide),
        im_info.to(wide),
        feature_stride=feature_stride,
        scales=scales,
        ratios=ratios,
        pre_nms_top_n=rpn_pre_nms_top_n,
        post_nms_top_n=rpn_post_nms_top_n,
        nms_thresh=threshold,
        min_size=rpn_min_size,
        variant="cxx",
    )
    return (rois, scores) if output_score else rois
