"""MXNet parameter files and graphs in, PyTorch weights out, and back; needs NumPy, never MXNet."""

from weights_convert.arrays import Params, Sparse
from weights_convert.load import load_params
from weights_convert.save import save_params

__all__ = ["Params", "Sparse", "load_params", "save_params"]
