"""Plots of the reports, as RGB pictures: matplotlib without a screen."""

from collections.abc import Mapping, Sequence

import numpy as np

Curves = dict[str, tuple[Sequence[float], np.ndarray]]  # by name: x [T], y of every run [runs, T]


def _figure(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    return figure, FigureCanvasAgg(figure)


def smoothed(values: Sequence[float], window: int) -> np.ndarray:
    """Running mean over at most `window` values up to each one, so that the curve is as long as the data."""
    total = np.cumsum(np.concatenate([[0.0], np.asarray(values, dtype=np.float64)]))
    last = np.arange(1, len(total))
    first = np.maximum(0, last - window)
    return (total[last] - total[first]) / (last - first)


def loss_curves(losses: Mapping[str, Sequence[float]], *, window: int = 50) -> np.ndarray:
    """One smoothed line per named loss, by training step; the unsmoothed one faint behind it."""
    figure, canvas = _figure(9.0, 3.2)
    axes = figure.add_subplot()
    for index, (name, values) in enumerate(losses.items()):
        colour = f"C{index}"
        axes.plot(values, color=colour, alpha=0.12, linewidth=0.6)
        axes.plot(smoothed(values, window), color=colour, linewidth=1.6, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel(f"loss (mean of the last {window})")
    axes.set_ylim(bottom=0, top=max((float(np.percentile(v, 99)) for v in losses.values() if len(v)), default=1.0))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, ncols=2)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def compared_points(
    columns: Sequence[str], series: Mapping[str, Sequence[tuple[float, float] | None]], *, unit: str
) -> np.ndarray:
    """Points with error bars, column by column; None leaves a place empty.

    Args: series: by name, (value, standard deviation) for every column. The first half of the names are drawn hollow (published),
        the others filled; the colour is the name's last word.
    """
    figure, canvas = _figure(9.0, 3.6)
    axes = figure.add_subplot()
    kinds = list(dict.fromkeys(name.split()[-1] for name in series))
    groups = list(dict.fromkeys(name.rsplit(" ", 1)[0] for name in series))
    markers = dict(zip(groups, ("D", "o", "s", "^"), strict=False))
    for place, (name, points) in enumerate(series.items()):
        group, kind = name.rsplit(" ", 1)
        x = np.arange(len(columns)) + 0.12 * (place - (len(series) - 1) / 2)
        kept = [index for index, point in enumerate(points) if point is not None]
        axes.errorbar(
            x[kept], [points[index][0] for index in kept], [points[index][1] for index in kept], label=name,  # type: ignore[index]
            color=f"C{kinds.index(kind)}", marker=markers[group], linestyle="none", markersize=6, capsize=3,
            markerfacecolor="none" if group == groups[0] else None,
        )  # fmt: skip
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel(unit)
    axes.grid(alpha=0.25, axis="y")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def curve_panels(panels: Mapping[str, Curves], *, unit: str) -> np.ndarray:
    """Curves side by side, one panel for each group: the mean of the runs as a line, their range behind it.

    Args: panels: curves by title. One name has one colour in all of them; what follows a comma makes it dashed. unit: of y.
    """
    figure, canvas = _figure(11.0, 3.4)
    kinds = list(dict.fromkeys(name.partition(",")[0] for curves in panels.values() for name in curves))
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, (x, y) in curves.items():
            kind, _, other = name.partition(",")
            colour = f"C{kinds.index(kind)}"
            axes.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(x, y.mean(axis=0), color=colour, linestyle="--" if other else "-", linewidth=1.5, label=name)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("update")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel(unit)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
