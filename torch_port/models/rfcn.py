"""R-FCN: position-sensitive score maps, pooled."""

from torch_port.models.two_stage import TwoStage


class RFCN(TwoStage):
    """R-FCN or deformable R-FCN (Dai et al. 2016, 2017); head: torch_port.models.heads.RFCNHead."""
