"""The operators of the original network, also as `torch.ops.dcn.*`."""

from torch_port.ops.deform_conv import deform_conv2d, modulated_deform_conv2d
from torch_port.ops.deform_psroi_pool import deform_psroi_pool

__all__ = ["deform_conv2d", "deform_psroi_pool", "modulated_deform_conv2d"]
