"""Made-up checkpoints of any network of the family: every array different, so that no two can be mixed up."""

import numpy as np

from dcn_tasks.config import Config, load_config
from weights_convert import Params, rules_for

NARROW = {"plain": "demo/narrow_rfcn", "deformable": "demo/narrow_rfcn_dcn"}
VOC_DCN = "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem"
VOC = "rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem"
COCO_DCN = "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem"


FASTER_RCNN = {"Faster R-CNN": "demo/narrow_rcnn", "deformable Faster R-CNN": "demo/narrow_rcnn_dcn"}
ALIGNED = {"R-FCN on Aligned-Inception-ResNet": "demo/narrow_aligned_rfcn_dcn"}
FPN = {"FPN": "demo/narrow_fpn", "deformable FPN": "demo/narrow_fpn_dcn"}
DCNV2 = {"R-FCN with DCNv2": "demo/narrow_rfcn_dcnv2", "Faster R-CNN with DCNv2": "demo/narrow_rcnn_dcnv2"}
CLASS_AWARE_RPN = {
    "class-aware RPN": "demo/narrow_class_aware_rpn",
    "deformable class-aware RPN": "demo/narrow_class_aware_rpn_dcn",
}
OTHERS = (
    FASTER_RCNN
    | ALIGNED
    | DCNV2
    | CLASS_AWARE_RPN
    | FPN
    | {"DeepLab": "demo/narrow_deeplab", "deformable DeepLab": "demo/narrow_deeplab_dcn"}
)


def narrow(kind: str = "deformable") -> Config:
    return load_config((NARROW | OTHERS)[kind])


def made_up(cfg: Config, *, test_copies: bool = True, seed: int = 0) -> Params:
    """Arrays with the shapes of the rules, random bits in every one (NaNs aside)."""
    rng = np.random.default_rng(seed)
    params = Params()
    for name, entry in rules_for(cfg).file_names().items():
        if name.endswith("_test") and not test_copies:
            continue
        target = params.aux if entry.state == "aux" else params.arg
        target[name] = rng.standard_normal(entry.shape, dtype=np.float32)
    return params


def empty_like(cfg: Config) -> Params:
    """The same without memory: broadcast zeros, for networks of full size whose values do not matter."""
    params = Params()
    for name, entry in rules_for(cfg).file_names().items():
        target = params.aux if entry.state == "aux" else params.arg
        target[name] = np.broadcast_to(np.float32(0), entry.shape)
    return params
