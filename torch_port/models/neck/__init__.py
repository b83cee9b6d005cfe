"""What stands between a backbone and its heads."""

from torch_port.models.neck.fpn import FPNNeck, Pyramid

__all__ = ["FPNNeck", "Pyramid"]
