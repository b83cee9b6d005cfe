"""What commands print and write: tables or JSON on stdout, folders that appear whole or not at all."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table


def print_json(result: object) -> None:
    """`result` on stdout as JSON; NaN and infinities as text, since JSON has none."""
    json.dump(plain(result), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout, numbers to the right; as wide as its content where stdout is no terminal."""
    table = Table(header_style="bold")
    for place, column in enumerate(columns):
        numeric = bool(rows) and isinstance(rows[0][place], int | float)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 200
    console = Console(width=width, highlight=False, markup=False)
    with console.capture() as captured:  # rich exits by itself when the reader of a pipe leaves; main knows better
        console.print(table)
    sys.stdout.write(f"{title}\n{captured.get()}")


def note(sentence: str) -> None:
    """A line for people, on stderr."""
    print(sentence, file=sys.stderr)


@contextmanager
def staged_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Yield a new folder to write into; at the end its files move into `folder`, replacing those of the same name.

    On any error the staged files are removed and `folder` is as it was, or absent if it was absent.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(20, "is a file, a folder is needed", str(folder))
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    staging = None
    try:
        staging = Path(tempfile.mkdtemp(prefix=".staged-", dir=folder))  # inside: the same file system, surely writable
        yield staging
        for file in sorted(staging.iterdir()):
            os.replace(file, folder / file.name)
        created = []
    finally:
        if staging is not None:
            shutil.rmtree(staging)
        for path in created:
            path.rmdir()
