"""Memory between the stages of a comparison."""

import ctypes
import gc
import os
import re

KEPT_FROM = 1 << 30  # bytes of glibc's trim_threshold from which somebody wants freed memory kept


def give_back() -> None:
    """Hands memory that nothing uses any more to the system; allocators keep it, and the next stage's maps are of other sizes.

    Where GLIBC_TUNABLES ask to keep freed memory, as those of `dcn parity all`, it is kept: on a virtual machine every page that
    comes back is fetched from the host and cleared.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None and not keeps_freed_memory(os.environ.get("GLIBC_TUNABLES", "")):
        trim(0)


def keeps_freed_memory(tunables: str) -> bool:
    """Whether glibc's tunables have a trim_threshold that hardly anything reaches."""
    found = re.search(r"(?:^|:)glibc\.malloc\.trim_threshold=(\d{1,20})(?::|$)", tunables)
    return found is not None and int(found[1]) >= KEPT_FROM
