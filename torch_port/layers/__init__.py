"""Building blocks: deformable layers, RoI poolings, and the dense layers that follow MXNet's conventions."""

from torch_port.layers.anchor_candidates import AnchorCandidates
from torch_port.layers.batch_norm import BatchNorm
from torch_port.layers.deform_conv import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
)
from torch_port.layers.elementwise import Add, ChannelSoftmax, Concat
from torch_port.layers.fully_connected import FullyConnected
from torch_port.layers.modulated_roi_pooling import ModulatedDeformRoIPool, Times
from torch_port.layers.modulation import ChannelSlice, Modulation, Scale, Sigmoid
from torch_port.layers.peer_weights import load_peer_state
from torch_port.layers.pooling import CeilMaxPool, GlobalAverage, PaddedMaxPool
from torch_port.layers.proposal import Proposal, ProposalLimits
from torch_port.layers.pyramid_proposal import PyramidProposal
from torch_port.layers.pyramid_roi_pooling import PooledRoIs, PyramidRoIPool
from torch_port.layers.rated_conv import RatedConv2d
from torch_port.layers.roi_pooling import DeformPSRoIPool, PSRoIPool, RoIPool
from torch_port.layers.shared_conv import SharedConv2d
from torch_port.layers.upsampling import BilinearDeconvolution, Crop

__all__ = [
    "Add",
    "AnchorCandidates",
    "BatchNorm",
    "BilinearDeconvolution",
    "CeilMaxPool",
    "ChannelSlice",
    "ChannelSoftmax",
    "Concat",
    "Crop",
    "DeformConv2d",
    "DeformConv2dPack",
    "DeformPSRoIPool",
    "FullyConnected",
    "GlobalAverage",
    "ModulatedDeformConv2d",
    "ModulatedDeformConv2dPack",
    "ModulatedDeformRoIPool",
    "Modulation",
    "PSRoIPool",
    "PaddedMaxPool",
    "PooledRoIs",
    "Proposal",
    "ProposalLimits",
    "PyramidProposal",
    "PyramidRoIPool",
    "RatedConv2d",
    "RoIPool",
    "Scale",
    "SharedConv2d",
    "Sigmoid",
    "Times",
    "load_peer_state",
]
