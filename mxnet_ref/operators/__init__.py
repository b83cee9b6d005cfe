"""The original's Python operators as MXNet Custom operators; importing this registers them."""

from mxnet_ref.operators import box_annotator_ohem, crop_like, proposal, proposal_target
from mxnet_ref.operators.draws import current_draws, set_draws
from mxnet_ref.operators.guarded import raise_failure

__all__ = [
    "box_annotator_ohem",
    "crop_like",
    "current_draws",
    "proposal",
    "proposal_target",
    "raise_failure",
    "set_draws",
]
