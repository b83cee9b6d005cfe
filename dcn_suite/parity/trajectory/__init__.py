"""The same training steps in both frameworks, from the same weights, on the same generated scenes.

float64   PyTorch decides everything for itself. It has to select what MXNet selects, RoI by RoI, and its losses and last
          weights have to be MXNet's to FLOAT64_TOLERANCE: the same function, through optimiser, schedule and multipliers.
float32   PyTorch with MXNet's decisions replayed, whose losses have to agree at every step; and deciding alone, reported up
          to the first step at which it selects other RoIs, samples or hard RoIs. For curves also with MXNet's selections
          replayed and nothing else.

Decisions are selections, ReLU masks, pooled pixels and bilinear cells, as in the chained comparison, but offsets stay
PyTorch's own wherever they lead into MXNet's cell. Training starts from zero offsets, on the edges of the cells and, at
the border, on the jump of MXNet's rule: a few offsets that differ by one float32 rounding would part the losses of correct
code. How many decisions differed is judged too, so that a mistake cannot hide behind them.
"""

from dcn_suite.parity.trajectory.run import run_trajectory

__all__ = ["run_trajectory"]
