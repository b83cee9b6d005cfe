"""The operators, as Python functions; also `torch.ops.dcn.*`."""

from torch_port.ops.deform_psroi_pool import deform_psroi_pool

__all__ = ["deform_psroi_pool"]
