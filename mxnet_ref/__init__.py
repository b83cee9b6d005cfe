"""The reference: the original networks on the original MXNet operators."""

import os

os.environ.setdefault("MXNET_SUBGRAPH_BACKEND", "NONE")  # oneDNN fusion breaks binding of internal outputs
os.environ.setdefault("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")

from mxnet_ref.build import build_symbol
from mxnet_ref.trace import trace

__all__ = ["build_symbol", "trace"]
