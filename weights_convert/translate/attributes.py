"""Attribute texts of a symbol.json to values and back. One tolerant reader for every spelling since 2015."""

import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_origin

MAX_TEXT = 1 << 16  # the longest real value is an __init__ of a few hundred letters
MAX_ITEMS = 4096
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WORDS: dict[str, float | bool | None] = dict.fromkeys(("None", "none", "null"))
WORDS |= {"True": True, "true": True, "False": False, "false": False}
WORDS |= {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf, "nan": math.nan}


if TYPE_CHECKING:
    Single: TypeAlias = float  # defaults and values are plain numbers
else:

    class Single(float):
        """Annotation of an attribute that MXNet keeps in float32: 0.1 is 0.10000000149 there, in float64 graphs too."""


def single(value: float) -> float:
    """The nearest float32, as Python's number."""
    return struct.unpack("f", struct.pack("f", value))[0] if math.isfinite(value) and abs(value) < 3.4e38 else value


class Unreadable(ValueError):
    """A text that is no value of the wanted kind; the message says what was expected."""


@dataclass(frozen=True)
class Kind:
    """What an attribute holds. item: int, float, bool or str. many: a tuple of them. nothing: None is a value too.

    gaps: single elements may be None (slice's begin and end).
    """

    item: type
    many: bool = False
    nothing: bool = False
    gaps: bool = False

    @staticmethod
    def of(annotation: Any) -> "Kind":
        """From `int`, `float | None`, `tuple[int, ...]`, `tuple[int | None, ...]`."""
        options = [each for each in get_args(annotation) if each is not type(None)]
        if annotation is Any or get_origin(annotation) is tuple or not options:
            nothing, inner = False, annotation
        else:
            nothing, inner = len(options) < len(get_args(annotation)), options[0]
        if get_origin(inner) is tuple:
            element = get_args(inner)[0]
            some = [each for each in get_args(element) if each is not type(None)]
            return Kind(some[0] if some else element, True, nothing, bool(some))
        return Kind(inner, False, nothing)

    @property
    def words(self) -> str:
        one = {int: "a whole number", float: "a number", Single: "a number", bool: "True or False", str: "a word"}[
            self.item
        ]
        return (f"a tuple, each {one}" if self.many else one) + (" or None" if self.nothing else "")

    def read(self, text: str) -> Any:
        """The value that `text` spells. Raises: Unreadable."""
        if len(text) > MAX_TEXT:
            raise Unreadable(f"expected {self.words}, got {len(text)} letters")
        stripped = text.strip()
        if self.item is str and not self.many:
            return None if self.nothing and stripped == "None" else stripped
        if self.nothing and WORDS.get(stripped, 0) is None:
            return None
        if not self.many:
            return self.one(stripped.strip("()[], ") if stripped[:1] in "([" else stripped)
        parts = [part for part in re.split(r"[\s,()\[\]]+", stripped) if part]
        if len(parts) > MAX_ITEMS:
            raise Unreadable(f"expected {self.words}, got {len(parts)} elements")
        return tuple(None if self.gaps and WORDS.get(part, 0) is None else self.one(part) for part in parts)

    def one(self, text: str) -> Any:
        if self.item is str:
            return text.strip("'\"")
        value: Any = WORDS.get(text, text)
        if isinstance(value, str):
            digits = text[:-1] if text[-1:] in ("L", "l") else text  # Python 2 wrote long integers as 1L
            if not NUMBER.fullmatch(digits):
                raise Unreadable(f"expected {self.words}, got {text!r}")
            value = int(digits) if re.fullmatch(r"[+-]?\d{1,300}", digits) else float(digits)
        if self.item is bool and value in (0, 1):
            return bool(value)
        if self.item in (float, Single) and value is not None:
            return single(value) if self.item is Single else float(value)
        if self.item is int and isinstance(value, bool):
            return int(value)
        if self.item is int and value is not None and math.isfinite(value) and value == int(value):
            return int(value)
        raise Unreadable(f"expected {self.words}, got {text!r}")


def spelled(value: Any) -> str:
    """A value as MXNet 1.9.1 reads it in a symbol.json."""
    if isinstance(value, tuple):
        inner = ", ".join(spelled(each) for each in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value) if isinstance(value, float) else str(value)
