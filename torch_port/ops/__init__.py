"""The operators, as Python functions; also `torch.ops.dcn.*`."""

from torch_port.ops import autocast as _autocast  # noqa: F401  registers the rules under autocast
from torch_port.ops.cpu_precision import set_cpu_precision
from torch_port.ops.deform_conv import deform_conv2d, modulated_deform_conv2d
from torch_port.ops.deform_psroi_pool import deform_psroi_pool
from torch_port.ops.nms import nms
from torch_port.ops.proposal import proposal
from torch_port.ops.psroi_pool import psroi_pool
from torch_port.ops.roi_pool import roi_pool

__all__ = [
    "deform_conv2d",
    "deform_psroi_pool",
    "modulated_deform_conv2d",
    "nms",
    "proposal",
    "psroi_pool",
    "roi_pool",
    "set_cpu_precision",
]
