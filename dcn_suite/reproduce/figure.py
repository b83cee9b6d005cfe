"""The figure of the comparison under rotation and translation: published beside measured."""

from pathlib import Path

import numpy as np

from dcn_suite.plots import compared_points
from dcn_suite.reproduce.registry import find_table
from dcn_suite.reproduce.results import results_of, summary

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
    return compared_points(columns, series, unit="per cent of test images")
