"""What a result of the reference depends on."""

import os

import mxnet as mx
import numpy as np


def versions() -> dict[str, str]:
    """MXNet's and NumPy's versions, MXNet's threads and whether this MXNet computes on oneDNN."""
    return {
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "threads": os.environ.get("OMP_NUM_THREADS", "not set: 1"),
        "onednn": str(mx.runtime.Features().is_enabled("MKLDNN")),
    }
