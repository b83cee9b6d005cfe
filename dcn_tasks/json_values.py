"""What was read from JSON that anybody may have written: is it of the kind that was written?"""

import sys
from collections.abc import Mapping


def is_number(value: object) -> bool:
    """Whether it is a finite number that a float holds; True and False are none."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def has(values: object, kinds: Mapping[str, type]) -> bool:
    """Whether it is a dictionary with a value of the very kind under each of these names."""
    return isinstance(values, Mapping) and all(type(values.get(name)) is kind for name, kind in kinds.items())


def fits(value: object, levels: int) -> bool:
    """Whether JSON can hold it again: every number finite, lists and dictionaries nested in at most that many levels."""
    if isinstance(value, int | float) and not isinstance(value, bool) and not is_number(value):
        return False
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(fits(each, levels - 1) for each in inner)
