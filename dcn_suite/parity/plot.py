"""Error by depth as numbers for an inline SVG: one dot per row, from the first node of the graph to the last."""

import math
from dataclasses import dataclass

from dcn_suite.parity.judge import FUNCTION_TOLERANCE, ROUNDING
from dcn_suite.parity.rows import RED, Row, number

WIDTH, HEIGHT = 1080, 330
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 34
FLOOR = 1e-18  # an exact zero is drawn here
SERIES = (
    ("function_error", "float64: PyTorch − MXNet", "#2a9d5c"),
    ("error_mxnet", "float32 error of MXNet", "#8aa0b8"),
    ("error_torch", "float32 error of PyTorch", "#2667c9"),
    ("replayed_error", "float32, decisions replayed: PyTorch − MXNet", "#2667c9"),
)


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    colour: str
    radius: float
    title: str


@dataclass(frozen=True)
class Line:
    """A horizontal line at a value, with the label beside it."""

    y: float
    label: str


@dataclass(frozen=True)
class Plot:
    """What the template draws; all places in pixels of a WIDTH x HEIGHT picture."""

    dots: list[Dot]
    ticks: list[Line]
    limits: list[Line]
    series: tuple
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM
    ends: tuple[str, str] = ("input", "outputs")


def relative(row: Row, name: str) -> float | None:
    """A measured error over the scale of its quantity."""
    error, scale = row.measures.get(name), row.measures.get("scale")
    if error is None or not scale:
        return None
    return float(error) / float(scale)


def error_by_depth(rows: list[Row], ends: tuple[str, str] = ("input", "outputs")) -> Plot | None:
    """The plot of one check's rows, or None where nothing can be drawn. ends: what stands under its left and right end."""
    drawn = [(row, name, colour, relative(row, name)) for row in rows for name, _, colour in SERIES]
    drawn = [each for each in drawn if each[3] is not None]
    if not drawn:
        return None
    finite = [value for *_, value in drawn if math.isfinite(value)]
    top = min(2.0, math.ceil(math.log10(max([1e-6, *finite]))) + 0.3)
    low = math.log10(FLOOR) - 0.3
    depth = max(1, max(row.depth for row, *_ in drawn))

    def place_y(value: float) -> float:
        power = top if not math.isfinite(value) else min(top, math.log10(max(value, FLOOR)))
        return round(TOP + (top - power) / (top - low) * (HEIGHT - TOP - BOTTOM), 1)

    dots = []
    for row, name, colour, value in drawn:
        red = row.verdict == RED and name != "error_mxnet" and (name != "function_error" or value > FUNCTION_TOLERANCE)
        x = LEFT + 6 + row.depth / depth * (WIDTH - LEFT - RIGHT - 12)
        title = f"{row.node} · {row.quantity}: {number(value)} of scale"
        dots.append(Dot(round(x, 1), place_y(value), "#c62828" if red else colour, 3.4 if red else 1.9, title))
    dots.sort(key=lambda dot: dot.radius)
    ticks = [Line(place_y(10.0**power), f"1e{power}") for power in range(-17, math.floor(top) + 1, 2)]
    ticks.append(Line(place_y(0.0), "0"))
    limits = [Line(place_y(FUNCTION_TOLERANCE), "float64 limit 1e-11"), Line(place_y(ROUNDING), "one float32 rounding")]
    present = {name for _, name, *_ in drawn}
    return Plot(dots, ticks, limits, tuple(each for each in SERIES if each[0] in present), ends=ends)
