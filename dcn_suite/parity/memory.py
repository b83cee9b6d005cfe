"""Memory between the stages of a comparison."""

import ctypes
import gc
import os


def give_back() -> None:
    """Hands memory that nothing uses any more to the system; allocators keep it, and the next stage's maps are of other sizes.

    Where GLIBC_TUNABLES ask to keep freed memory (trim_threshold, as in `dcn parity all`) it is kept: on a virtual machine every
    page that comes back is fetched from the host and cleared, which was a sixth of a run.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None and "trim_threshold" not in os.environ.get("GLIBC_TUNABLES", ""):
        trim(0)
