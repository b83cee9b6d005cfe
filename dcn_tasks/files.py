"""Writing files so that a reader never meets half of one, and no other process writes them too."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any error.

    The temporary file is in the same folder (so the rename is atomic), has the same suffix (so writers that look at
    it behave), and is flushed to disk before the rename. A full disk therefore leaves the old file, or none.

    Raises: OSError from the writer or the rename; the temporary file is gone by then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


@contextmanager
def claimed(lock: Path) -> Iterator[bool]:
    """Whether this process alone holds a claim; a process that dies gives it back.

    Args: lock: file that stands for the claim, gone afterwards; its folder is made if absent.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        if not lock.exists() or os.fstat(file.fileno()).st_ino != lock.stat().st_ino:
            yield False  # its last holder took the file away between opening and locking it: another one may be there
            return
        try:
            yield True
        finally:
            lock.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
