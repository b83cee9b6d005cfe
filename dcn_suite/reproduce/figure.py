"""The figures of the page of results: accuracies under rotation and translation, losses on small real data."""

from pathlib import Path

import numpy as np

from dcn_suite.plots import Curves, compared_points, curve_panels
from dcn_suite.reproduce.registry import find_table
from dcn_suite.reproduce.results import Result, results_of, summary

FRAMEWORKS = {"torch": "PyTorch", "mxnet": "MXNet"}


def comparison_figure(root: Path) -> np.ndarray | None:
    """RGB picture of MNIST's columns of which anything was measured (CIFAR-10's lie elsewhere); None while there is none.

    Args: root: of the stored results.
    """
    table = find_table("mnist")
    found = {row.name: summary(results_of(root, row)) for row in table.rows}
    columns = [
        column
        for column in table.columns
        if not column.startswith("cifar10")
        and any((name, column) in each for each in found.values() for name in FRAMEWORKS)
    ]
    if not columns:
        return None
    series: dict[str, list[tuple[float, float] | None]] = {
        f"published {row.name}": [(row.published[column], 0.0) for column in columns] for row in table.rows
    }
    for framework, words in FRAMEWORKS.items():
        for row in table.rows:
            spreads = [found[row.name].get((framework, column)) for column in columns]
            series[f"{words} {row.name}"] = [
                None if spread is None else (spread.mean, spread.deviation or 0.0) for spread in spreads
            ]
    shown = {name: points for name, points in series.items() if any(points)}
    return compared_points(columns, shown, unit="per cent of test images")


def loss_figure(root: Path) -> np.ndarray | None:
    """RGB picture of the loss curves of the table small-data, a panel for each data set; None while there is none.

    Args: root: of the stored results.
    """
    panels: dict[str, Curves] = {}
    for row in find_table("small-data").rows:
        results = results_of(root, row)
        for framework, words in FRAMEWORKS.items():
            if found := [each for each in results if each.framework == framework and "curve" in each.details]:
                kind = row.name.removeprefix(f"{row.folder}-")
                panels.setdefault(row.folder, {})[kind if framework == "torch" else f"{kind}, {words}"] = curves_of(
                    found
                )
    return curve_panels(panels, unit="sum of the losses") if panels else None


def curves_of(results: list[Result]) -> tuple[list[float], np.ndarray]:
    """Updates [T] and losses [seeds, T] of runs of one training recipe."""
    curves = [result.details["curve"] for result in results]
    return curves[0]["update"], np.array([curve["loss"] for curve in curves])


PICTURES = {"mnist": comparison_figure, "small-data": loss_figure}  # of page.FIGURES
