"""The original's Python operators as MXNet Custom operators; importing this registers them."""

from mxnet_ref.operators import box_annotator_ohem, proposal, proposal_target
from mxnet_ref.operators.draws import current_draws, set_draws

__all__ = ["box_annotator_ohem", "current_draws", "proposal", "proposal_target", "set_draws"]
