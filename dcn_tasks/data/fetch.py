"""Small published files: the user's copy if there is one, else fetched once, checked against a pinned checksum."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path

CHUNK = 1 << 18  # bytes
TIMEOUT_S = 30


def found_or_fetched(name: str, folders: Sequence[Path], url: str, md5: str, size: int) -> Path:
    """The file `name` in one of the folders, or fetched from `url` into the first of them.

    Args: md5: of the published file; size: in bytes. Files that are there already are taken as they are.
    Raises: InputError when it is nowhere and cannot be fetched, or what came is another file.
    """
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    target = folders[0] / name
    digest, count = hashlib.md5(usedforsecurity=False), 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, atomic_path(target) as temporary:
            with open(temporary, "wb") as out, Progress(console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task(f"fetching {name}", total=size)
                while chunk := answer.read(CHUNK):
                    count += len(chunk)
                    if count > size:
                        break
                    out.write(chunk)
                    digest.update(chunk)
                    bar.update(task, completed=count)
            if (count, digest.hexdigest()) != (size, md5):
                raise InputError(
                    f"{url}: expected {size} bytes with MD5 {md5}, got {count} bytes or more with {digest.hexdigest()}: it "
                    f"is not the published file; put that one into {folders[0]}"
                )
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(error, InputError):
            raise
        looked = ", ".join(str(folder) for folder in folders)
        raise InputError(
            f"{name}: expected in {looked}, is not there, and {url} could not be fetched ({error}): download it and put it "
            f"into {folders[0]}, or name its folder with --data"
        ) from error
    return target
