"""What stands between a backbone and its heads."""

from mxnet_ref.neck.fpn import Pyramid, pyramid

__all__ = ["Pyramid", "pyramid"]
