"""Variants by arguments compute the same in both frameworks: layers before stage 5, dilations, poolings."""

import pytest

from dcn_suite.parity.run import Settings, run_parity
from dcn_tasks.config import load_config
from dcn_tasks.network import NetworkSpec

pytestmark = pytest.mark.mxnet
VARIANTS = {
    "R-FCN: deformable pooling alone, dilation 4": (
        "demo/narrow_rfcn",
        {"network__DEFORM_ROI_POOLING": True, "network__RES5_DILATION": 4},
    ),
    "Faster R-CNN: deformable convolutions of stages 4 and 5, dilation 6, plain pooling": (
        "demo/narrow_rcnn",
        {"network__DEFORM_CONV_UNITS": ["res4b", "res5a"], "network__RES5_DILATION": 6},
    ),
    "Faster R-CNN: class-agnostic boxes, hard examples": (
        "demo/narrow_rcnn_dcn",
        {"CLASS_AGNOSTIC": True, "TRAIN__ENABLE_OHEM": True, "TRAIN__BATCH_ROIS": -1},
    ),
    "FPN: deformable pooling alone": ("demo/narrow_fpn", {"network__DEFORM_ROI_POOLING": True}),
    "FPN: one deformable convolution, dilation 2, plain pooling": (
        "demo/narrow_fpn",
        {"network__DEFORM_CONV_UNITS": ["res5a"], "network__RES5_DILATION": 2},
    ),
    "class-aware RPN: deformable convolutions of stages 4 and 5, dilation 4": (
        "demo/narrow_class_aware_rpn",
        {"network__DEFORM_CONV_UNITS": ["res4b", "res5a"], "network__RES5_DILATION": 4},
    ),
    "DeepLab: deformable convolutions of stages 4 and 5, dilation 4": (
        "demo/narrow_deeplab",
        {"network__DEFORM_CONV_UNITS": ["res4a", "res5b"], "network__RES5_DILATION": 4},
    ),
    "FPN: modulated convolutions": ("demo/narrow_fpn_dcn", {"network__MODULATED_CONV": True}),
    "class-aware RPN: modulated convolutions": ("demo/narrow_class_aware_rpn_dcn", {"network__MODULATED_CONV": True}),
    "DeepLab: modulated convolutions": ("demo/narrow_deeplab_dcn", {"network__MODULATED_CONV": True}),
    "R-FCN: as deep as ResNet-50": ("demo/narrow_rfcn", {"network__UNITS": [3, 4, 6, 3]}),
}
WITH_GRADIENTS = (
    "Faster R-CNN: class-agnostic boxes, hard examples",
    "FPN: one deformable convolution, dilation 2, plain pooling",
    "DeepLab: deformable convolutions of stages 4 and 5, dilation 4",
    "FPN: modulated convolutions",
)


assert set(WITH_GRADIENTS) <= set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_holds(name):
    config, overrides = VARIANTS[name]
    cfg = load_config(config, **overrides)
    size = (96, 128) if NetworkSpec.from_config(cfg).family == "fpn" else (64, 80)
    result = run_parity(cfg, Settings(size, grad=name in WITH_GRADIENTS))
    assert [row.what for row in result.table.red] == []
