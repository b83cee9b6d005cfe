"""docs/zoo.md: one row for each model of GluonCV's zoo, from the stored results."""

import re
from collections import Counter
from collections.abc import Sequence

from dcn_suite.parity.rows import share

NOT_TRIED = "not tried"
HEAD = """# GluonCV's model zoo, converted
Every name of `gluoncv==0.8.0`'s `get_model_list()`, built with `pretrained=False, pretrained_base=False`, with made-up
weights, converted by `weights_convert.convert` and compared with MXNet 1.9.1 on the CPU: every output of every node, end to
end, in float32 and float64. `python benchmarks/zoo_conversion.py` makes this page and
`benchmarks/results/zoo_conversion.json`.

- **holds**: PyTorch's float64 is MXNet's to 1e-11 of each output's scale, and its float32 error is at most twice MXNet's.
- *function*: the largest disagreement of the float64 runs, over the scale. *rounding*: the most strained row, as a share
  of what is allowed.
- Weights are random (He et al.; an R-CNN's box layers as it starts them itself), BatchNorm statistics are those of what comes
  in, a little off. Where {quiet} is below 1, the BatchNorms that end a residual branch have that many times their gamma: with
  larger branches rounding grows from unit to unit in either framework (0.3; of more than 50 branches less;
  a third of that where it grows all the same: a mistake would not shrink below 1e-11 with it).
- *back*: the module written as symbol.json and parameters again, MXNet's float32 outputs from these beside the original's;
  –: not tried.
- What follows a selection, sorting or comparison (`box_nms`, `topk`, `score > 0.01`) is judged in float64 alone; equal
  values are ordered as MXNet ordered them. MXNet's CPU leaves the memory of RoIs of no image as it found it (GluonCV's FPN
  makes such); the witness has 0 there, as on its GPU.
- Int8 graphs (`_int8`), as GluonCV ships them with their thresholds: every whole number is MXNet's, in a float32 and in a
  float64 module; what they compute in floating point starts from MXNet's dequantized arrays in float64. Where a floating-point
  number lies on a half within 64 roundings and becomes a whole one, MXNet's is taken over, if the same rule makes it of
  MXNet's number. Weights are scaled so that results fill the shipped ranges; PyTorch's float32 runs without oneDNN there.
- The input is the smallest that the network takes, so that all of it runs; weights and kernels are full-size. R-CNNs keep
  16 proposals, not 300 or 1000.
"""


def render(rows: Sequence[dict]) -> str:
    counts = Counter(row["verdict"] for row in rows)
    counted = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    tried = [row for row in rows if row["verdict"] != NOT_TRIED]
    lines = [HEAD.replace("{quiet}", "*branch*"), f"{len(rows)} names: {counted}.\n", "## Not shown to hold"]
    missing: dict[str, list[str]] = {}
    for row in rows:
        if row["verdict"] != "holds":
            missing.setdefault(reason(row), []).append(f"`{row['name']}`")
    lines += [
        f"- {', '.join(names)}: {why}"
        for why, names in sorted(missing.items(), key=lambda each: each[0].startswith(NOT_TRIED))
    ]
    lines += [
        "",
        "## All that were tried",
        "| model | input | nodes | operators | outputs judged | red | function | rounding | branch | back | verdict |",
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|---|---|"]
    lines += [table_row(row) for row in tried]
    return "\n".join(lines) + "\n"


def reason(row: dict) -> str:
    """Why a model is not shown to hold, verdict first: what was recorded, without the numbers that differ from model to model."""
    if row["verdict"] == NOT_TRIED:
        return f"{NOT_TRIED}."
    why = " ".join(row.get("why", "").split())
    if untranslated := re.findall(r"(\w+) \(\d+ nodes", why):
        why = f"No translation of {', '.join(f'`{name}`' for name in sorted(untranslated))}"
    return f"{row['verdict']}. {why}"


def table_row(row: dict) -> str:
    given = row.get("input", [])
    shapes = given if given and isinstance(given[0], list) else [given]
    sides = ", ".join("×".join(map(str, shape)) for shape in shapes) or "–"
    function, strain = row.get("worst_disagreement"), row.get("worst_strain")
    cells = [
        f"`{row['name']}`",
        sides,
        *(str(row.get(key, "–")) for key in ("nodes", "operators", "judged", "red")),
        "–" if function is None else f"{float(function):.1e}",
        "–" if strain is None else share(float(strain)),
        str(row.get("quiet", 1)),
        row.get("back", "–"),
        row["verdict"] + (" (float32 only)" if row.get("note") else ""),
    ]
    return "| " + " | ".join(cells) + " |"
