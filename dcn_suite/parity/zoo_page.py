"""docs/zoo.md: one row for each model of GluonCV's zoo, from the stored results."""

from collections import Counter
from collections.abc import Sequence

from dcn_suite.parity.rows import share

HEAD = """# GluonCV's model zoo, converted
Every name of `gluoncv==0.8.0`'s `get_model_list()`, built with `pretrained=False, pretrained_base=False`, with random
weights and calibrated BatchNorm statistics, converted by `weights_convert.convert` and compared with MXNet 1.9.1 on the
CPU: every output of every node, end to end, in float32 and float64. `python benchmarks/zoo_conversion.py` makes this page
and `benchmarks/results/zoo_conversion.json`.

- **holds**: PyTorch's float64 is MXNet's to 1e-11 of each output's scale, and its float32 error is at most twice MXNet's.
- *function*: the largest disagreement of the float64 runs, over the scale. *rounding*: the most strained row, as a share
  of what is allowed.
- What follows a selection or sorting (`box_nms`, `topk`, ...) is judged in float64 alone.
- The input is the smallest that the network takes, so that all of it runs; weights and kernels are full-size.
"""


def render(rows: Sequence[dict]) -> str:
    counts = Counter(row["verdict"] for row in rows)
    counted = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    lines = [HEAD, f"{len(rows)} names: {counted}.\n", "## Not shown to hold"]
    lines += [f"- `{row['name']}`: {row['verdict']}. {row.get('why', '')}" for row in rows if row["verdict"] != "holds"]
    lines += [
        "",
        "## All",
        "| model | input | nodes | operators | outputs judged | red | function | rounding | verdict |",
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    lines += [table_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def table_row(row: dict) -> str:
    sides = "×".join(map(str, row.get("input", ()))) or "–"
    function, strain = row.get("worst_disagreement"), row.get("worst_strain")
    cells = [
        f"`{row['name']}`",
        sides,
        *(str(row.get(key, "–")) for key in ("nodes", "operators", "judged", "red")),
        "–" if function is None else f"{float(function):.1e}",
        "–" if strain is None else share(float(strain)),
        row["verdict"] + (" (float32 only)" if row.get("note") else ""),
    ]
    return "| " + " | ".join(cells) + " |"
