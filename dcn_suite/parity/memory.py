"""Memory between the stages of a comparison."""

import ctypes
import gc


def give_back() -> None:
    """Hands memory that nothing uses any more to the system; allocators keep it, and the next stage's maps are of other sizes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)
