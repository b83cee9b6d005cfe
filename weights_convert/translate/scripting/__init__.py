"""Converted modules for `torch.jit.script`, which knows no keyword-only arguments and little of Python."""

from weights_convert.translate.scripting.module import scriptable

__all__ = ["scriptable"]
