"""MXNet's C++ side prints a line on stderr for every graph it binds; these lines are dropped, all others stay."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

DROPPED = (b"MXNET_SUBGRAPH_BACKEND=NONE is detected", b"Bucketing: data gt_boxes has a shape")
STDERR = 2


@contextmanager
def without_binding_notices() -> Iterator[None]:
    """Hold back what is written to stderr meanwhile, then write it without MXNet's notices about binding."""
    sys.stderr.flush()
    saved = os.dup(STDERR)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, STDERR)
            os.close(saved)
            held.seek(0)
            for line in held:
                if line.strip() and not any(notice in line for notice in DROPPED):
                    os.write(STDERR, line)
