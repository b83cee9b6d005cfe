"""The one exception that a command turns into a sentence and exit code 2."""


class InputError(ValueError):
    """Something handed in (file, config, argument, image) can't be used.

    The message says who found it, what was expected, what came, and what to do about it.
    """
