"""Every operator's attributes are MXNet 1.9.1's own: the same names, the same ones required, the same defaults."""

import ctypes
import re

import pytest

from weights_convert.translate.attributes import single
from weights_convert.translate.registry import REGISTRY, WITHOUT_MEANING

# An absent shape is () here and in MXNet's "None" alike; lengths of arrays; the type that MXNet writes as -1 is float32's.
SAME = {("None", ()), ("-1", "float32")}
NEEDED_HERE = {("_unravel_index", "shape"), ("unravel_index", "shape")}  # MXNet fails without it when it runs

SAID_WRONG = {
    ("_npi_concatenate", "dim")
}  # MXNet describes Concat's parameters there; what it reads and writes is axis


def stated(name: str) -> dict[str, str] | None:
    """MXNet's own words on each attribute, e.g. "int, optional, default='1'"; None: no such operator in 1.9.1."""
    from mxnet.base import _LIB, c_str, check_call, mx_uint

    handle, count = ctypes.c_void_p(), mx_uint()
    if _LIB.NNGetOpHandle(c_str(name), ctypes.byref(handle)):
        return None
    names, types, words = (ctypes.POINTER(ctypes.c_char_p)() for _ in range(3))
    texts = [ctypes.c_char_p() for _ in range(4)]
    refs = [ctypes.byref(each) for each in (*texts[:2], count, names, types, words, *texts[2:])]
    check_call(_LIB.MXSymbolGetAtomicSymbolInfo(handle, *refs))
    found = {names[place].decode(): types[place].decode() for place in range(count.value)}
    return {key: text for key, text in found.items() if "NDArray" not in text and "Symbol" not in text}


NAMES = sorted(name for name in REGISTRY if not name.startswith("Custom:"))


@pytest.mark.mxnet
@pytest.mark.parametrize("name", NAMES)
def test_attributes_and_defaults_are_mxnets(name):
    found, words = REGISTRY[name], stated(name)
    if words is None:
        assert stated(found.name) is not None, "an old name stands for one that MXNet 1.9.1 has"
        return
    for key, text in words.items():
        own = found.spelling.get(key, key)
        if (name, key) in SAID_WRONG:
            continue
        if own not in found.attributes:
            assert key in WITHOUT_MEANING, f"{key} ({text}) is unknown here"
            continue
        if (name, own) in NEEDED_HERE:
            continue
        assert (own in found.defaults) == ("required" not in text), f"{key}: {text}"
        default = re.search(r"default=(.*)$", text)
        if default and own in found.defaults:
            same_default(found.attributes[own], default[1].strip("'"), found.defaults[own])


def same_default(kind, text: str, own) -> None:
    if (text, own) in SAME:
        return
    value = kind.read(text)
    if isinstance(value, float) and value != own:  # printed with nine digits
        value, own = single(value), single(own)
    assert value == own
