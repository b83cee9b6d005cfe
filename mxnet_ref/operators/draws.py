"""The random streams of the step in progress: operators run in MXNet's own threads and take no argument for them."""

from dcn_tasks.streams import Draws

_current = Draws(0, 0)


def set_draws(draws: Draws) -> None:
    """From now on, operators draw from these. Call before the forward pass, with nothing in flight."""
    global _current
    _current = draws


def current_draws() -> Draws:
    return _current
