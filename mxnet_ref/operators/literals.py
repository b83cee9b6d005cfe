"""Attributes of Custom operators arrive as text."""

import ast


def number_tuple(text: str) -> tuple[float, ...]:
    """ "(8, 16, 32)" as a tuple. Raises: ValueError for anything but numbers."""
    value = ast.literal_eval(text)
    values = value if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in values):
        raise ValueError(f"expected numbers like (8, 16, 32), got {text!r}")
    return tuple(values)
