"""A hundred training steps of the narrow networks in MXNet and PyTorch: losses, last weights, first differing decision.

    python benchmarks/trajectories.py            runs what results/trajectories.json does not have yet, draws the figure
    python benchmarks/trajectories.py --again    runs all four anew

MXNet 1.9.1 on the CPU; PyTorch deciding for itself in float64 as MXNet does then; in float32 with MXNet's decisions
replayed, with its selections alone, and deciding for itself (dcn_suite/parity/trajectory). And once more from calibrated
weights, whose offsets do not stand on the edges of cells.
"""

import argparse
import json
import time
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from dcn_suite.parity.run import Settings
from dcn_suite.parity.trajectory import run_trajectory
from dcn_suite.reproduce.results import commit, machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "trajectories.json"
FIGURE = HERE.parent / "docs" / "images" / "trajectories.png"
NETWORKS = {
    "demo/narrow_rfcn_dcn": ("Deformable R-FCN", "RCNNLogLoss"),
    "demo/narrow_rcnn_dcn": ("Deformable Faster R-CNN", "RCNNLogLoss"),
    "demo/narrow_fpn_dcn": ("Deformable FPN", "RCNNLogLoss"),
    "demo/narrow_deeplab_dcn": ("Deformable DeepLab", "FCNLogLoss"),
}
STEPS, LOSS_TOLERANCE = 100, 1e-3
SMALLEST = 1e-17  # drawn; equal numbers have no logarithm
COLOURS = {"mxnet": "#b0b0b0", "replayed": "#1f77b4", "selections": "#2ca02c", "alone": "#d95f02", "alone64": "#7b3294"}
NAMES = {
    "mxnet": "MXNet",
    "replayed": "PyTorch, decisions replayed",
    "selections": "PyTorch, selections replayed",
    "alone": "PyTorch alone",
    "alone64": "PyTorch alone, both in float64",
}
REFERENCE = {"alone64": "mxnet64"}  # of the others: "mxnet"


def measure(config: str) -> dict:
    """One network's row of the results."""
    away = run_trajectory(
        config, Settings((1, 1)), steps=STEPS, loss_tolerance=LOSS_TOLERANCE, curves=True, calibrated=True
    )
    result = run_trajectory(config, Settings((1, 1)), steps=STEPS, loss_tolerance=LOSS_TOLERANCE, curves=True)
    weights, weights64 = (row.got for row in result.table.judged if row.quantity == "weights")
    curves = result.facts["curves"]
    return {
        "steps": STEPS,
        "red": [row.what for row in result.table.red],
        "largest_relative_difference_of_a_loss": worst(curves, "replayed"),
        "weights": weights,
        "float64_alone": in_float64(curves) | {"weights": weights64},
        "float64_alone_from_calibrated_weights": in_float64(away.facts["curves"])
        | {"weights": [row.got for row in away.table.judged if row.quantity == "weights"][1]},
        "first_difference_alone": result.facts["first_difference"],
        "seed": result.facts["seed"],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "machine": machine(),
        "versions": result.facts["versions"],
        "selections_alone": with_selections_alone(curves),
        "selections_alone_from_calibrated_weights": with_selections_alone(away.facts["curves"]),
        "red_from_calibrated_weights": [row.what for row in away.table.red],
        "curves": {
            name: {line: rounded(line, values) for line, values in each.items()} for name, each in curves.items()
        },
    }


def rounded(line: str, values: list[float]) -> list[float]:
    """To the digits that this line has."""
    return values if line.endswith("64") else [float(f"{value:.8g}") for value in values]


def relative(lines: dict[str, list[float]], line: str) -> np.ndarray:
    theirs = np.array(lines[REFERENCE.get(line, "mxnet")])
    return np.abs(np.array(lines[line]) - theirs) / np.maximum(np.abs(theirs), 1e-30)


def worst(curves: dict, line: str) -> float:
    return max(float(relative(lines, line).max()) for lines in curves.values())


def in_float64(curves: dict) -> dict[str, float]:
    """How far each loss comes from MXNet's, relative, where both train in float64 and nothing is replayed."""
    return {name: worst({name: lines}, "alone64") for name, lines in curves.items()}


def first_beyond(curves: dict, line: str) -> int | None:
    """The first update at which a loss is farther from MXNet's than allowed."""
    beyond = np.max([relative(lines, line) for lines in curves.values()], axis=0) > LOSS_TOLERANCE
    return int(beyond.argmax()) + 1 if beyond.any() else None


def with_selections_alone(curves: dict) -> dict[str, object]:
    """How far the sum of the losses and each of them comes from MXNet's, relative, where only selections are replayed."""
    total = {line: np.sum([lines[line] for lines in curves.values()], axis=0) for line in ("mxnet", "selections")}
    return {
        "sum": worst({"sum": total}, "selections"),
        "sum_beyond_from_update": first_beyond({"sum": total}, "selections"),
        **{name: worst({name: lines}, "selections") for name, lines in curves.items()},
    }


def draw(results: dict) -> None:
    """Above: a loss of each network; below: how far PyTorch is from MXNet, relative, with the step of the first difference."""
    figure, axes = plt.subplots(2, len(NETWORKS), figsize=(14, 5.2), sharex=True)
    for column, (config, (title, loss)) in enumerate(NETWORKS.items()):
        lines, (top, bottom) = results[config]["curves"][loss], axes[:, column]
        steps = np.arange(1, len(lines["mxnet"]) + 1)
        for line, width in (("mxnet", 4), ("alone", 1.4), ("selections", 1.2), ("replayed", 1)):
            top.plot(steps, lines[line], color=COLOURS[line], linewidth=width, label=NAMES[line])
        top.plot([], [], color=COLOURS["alone64"], linewidth=1, label=NAMES["alone64"])  # in the same place
        for line in ("alone", "selections", "replayed", "alone64"):
            bottom.semilogy(steps, np.maximum(relative(lines, line), SMALLEST), color=COLOURS[line], linewidth=1)
        bottom.axhline(LOSS_TOLERANCE, color="black", linewidth=0.8, linestyle=":")
        difference = results[config]["first_difference_alone"]
        if difference:
            for axis in (top, bottom):
                axis.axvline(int(difference.rpartition(" ")[2]), color="black", linewidth=0.8, linestyle="--")
        top.set_title(f"{title}: {loss}", fontsize=10)
        bottom.set_xlabel("update")
        bottom.set_ylim(SMALLEST, 3)
    axes[1, 0].set_ylabel("relative difference\nfrom MXNet")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncol=5, frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(FIGURE, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="run all anew")
    args = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() and not args.again else {}
    for config in NETWORKS:
        if config not in results:
            results[config] = measure(config)
            RESULTS.write_text(json.dumps(results, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
        row = {name: value for name, value in results[config].items() if name != "curves"}
        print(config, json.dumps(row))
    draw(results)


if __name__ == "__main__":
    main()
