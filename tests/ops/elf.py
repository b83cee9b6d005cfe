"""Reads what a 64-bit little-endian ELF library asks of others: its undefined symbols and the libraries it names."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DYNAMIC, DYNAMIC_SYMBOLS = 6, 11  # section types
NEEDED = 1  # dynamic entry
SECTION, SYMBOL, ENTRY = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ"), struct.Struct("<qQ")


@dataclass(frozen=True)
class Library:
    undefined: frozenset[str]
    needed: frozenset[str]


def read_library(path: Path) -> Library:
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path}: expected a 64-bit little-endian ELF file")
    first, size, count = (struct.unpack_from(f, data, at)[0] for f, at in (("<Q", 40), ("<H", 58), ("<H", 60)))
    sections = [SECTION.unpack_from(data, first + i * size) for i in range(count)]

    def entries(kind: int, layout: struct.Struct) -> Iterator[tuple]:
        """(fields, offset of the strings that they name)."""
        for section in sections:
            if section[1] == kind:
                strings = sections[section[6]][4]
                for at in range(section[4], section[4] + section[5], layout.size):
                    yield layout.unpack_from(data, at), strings

    def text(at: int) -> str:
        return data[at : data.index(b"\0", at)].decode()

    undefined = {text(strings + s[0]) for s, strings in entries(DYNAMIC_SYMBOLS, SYMBOL) if s[3] == 0 and s[0]}
    needed = {text(strings + value) for (tag, value), strings in entries(DYNAMIC, ENTRY) if tag == NEEDED}
    return Library(frozenset(undefined), frozenset(needed))
