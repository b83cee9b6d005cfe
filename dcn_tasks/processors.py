"""How many cores there are for this process."""

import os
from pathlib import Path


def count_cores() -> int:
    """Of the processors that this process may use; those that share a core count once, as PyTorch counts them."""
    return len({siblings_of(processor) for processor in os.sched_getaffinity(0)})


def siblings_of(processor: int) -> str:
    """The processors of its core, or itself where the system does not say."""
    listed = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    return listed.read_text().strip() if listed.is_file() else str(processor)
