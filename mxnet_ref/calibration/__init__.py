"""Random parameters under which a network behaves like a trained one, so that comparing its numbers proves something.

With plain random weights and the identity as normalisation, activations reach 1e7 and every probability is 0 or 1.
"""

from mxnet_ref.calibration.calibrated import calibrated_init

__all__ = ["calibrated_init"]
