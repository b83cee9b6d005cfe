"""FPN Faster R-CNN: both stages look at a feature pyramid."""

from typing import Any

from torch import Tensor

from torch_port.models.neck import FPNNeck, Pyramid
from torch_port.models.two_stage import TwoStage


class FPN(TwoStage):
    """FPN or deformable FPN (Lin et al. 2017; Dai et al. 2017). One image at a time, as in the original.

    Args: neck: the pyramid; the others as TwoStage: a ResNet, a torch_port.models.heads.PyramidRPN and an FPNHead.
    """

    def __init__(self, neck: FPNNeck, *parts: Any, **settings: Any):
        super().__init__(*parts, **settings)
        self.neck = neck

    def features(self, data: Tensor) -> Pyramid:  # type: ignore[override]
        return self.neck(self.backbone(data))

    def rpn_maps(self, maps: Pyramid) -> Pyramid:  # type: ignore[override]
        return maps

    def head_maps(self, maps: Pyramid) -> Pyramid:  # type: ignore[override]
        return maps
