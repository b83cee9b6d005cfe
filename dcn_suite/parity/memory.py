"""Memory between the stages of a comparison."""

import ctypes
import gc
import os
import re
from pathlib import Path

KEPT_FROM = 1 << 30  # bytes of glibc's trim_threshold from which somebody wants freed memory kept
KEPT_AT_MOST = 10 << 30  # bytes that the process holds; the next stage's maps may find no room between what is kept


def give_back() -> None:
    """Hands memory that nothing uses any more to the system; allocators keep it, and the next stage's maps are of other sizes.

    Where GLIBC_TUNABLES ask to keep freed memory, as those of `dcn parity all`, it is kept, up to KEPT_AT_MOST: on a virtual
    machine every page that comes back is fetched from the host and cleared.
    """
    gc.collect()
    keep = keeps_freed_memory(os.environ.get("GLIBC_TUNABLES", ""), resident_bytes())
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None and not keep:
        trim(0)


def keeps_freed_memory(tunables: str, held: int) -> bool:
    """Whether glibc's tunables have a trim_threshold that hardly anything reaches, and not too many bytes are held."""
    found = re.search(r"(?:^|:)glibc\.malloc\.trim_threshold=(\d{1,20})(?::|$)", tunables)
    return found is not None and int(found[1]) >= KEPT_FROM and held < KEPT_AT_MOST


def resident_bytes() -> int:
    """Memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
