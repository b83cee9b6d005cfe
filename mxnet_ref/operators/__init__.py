"""The original's Python operators as MXNet Custom operators; importing this registers them."""

from mxnet_ref.operators import (
    anchor_candidates,
    box_annotator_ohem,
    crop_like,
    fpn_roi_pooling,
    modulated_convolution,
    proposal,
    proposal_target,
    pyramid_proposal,
)
from mxnet_ref.operators.draws import current_draws, set_draws
from mxnet_ref.operators.guarded import raise_failure
from mxnet_ref.operators.modulated_convolution import with_cpu_backward

__all__ = [
    "anchor_candidates",
    "box_annotator_ohem",
    "crop_like",
    "current_draws",
    "fpn_roi_pooling",
    "modulated_convolution",
    "proposal",
    "proposal_target",
    "pyramid_proposal",
    "raise_failure",
    "set_draws",
    "with_cpu_backward",
]
