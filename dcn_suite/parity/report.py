"""The result of a parity run for people and for programs: terminal, report.html, parity.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader
from rich.console import Console
from rich.table import Table as RichTable

from dcn_suite.parity.plot import error_by_depth
from dcn_suite.parity.rows import HOLDS, RED, REPORTED, Row, Table, number, share
from dcn_tasks.files import atomic_path

EXPLAINED = {
    "isolated": "each node alone, fed what MXNet fed it; outputs and gradients",
    "chained": "end to end, PyTorch taking MXNet's decisions; activations and gradients",
    "free-running": "end to end, each framework deciding alone: how many decisions differ",
    "detections": "the boxes a user sees, each framework deciding alone, matched as sets",
    "detections, replayed": "the same, PyTorch taking MXNet's decisions",
    "trajectory": "losses of the same training steps, step by step",
    "network": "whether the network is a fair test: enough detections, no ties, the same boxes in MXNet's float32 and float64",
}
PLOTTED = {  # title, and what stands at the left and right end
    "isolated": ("Error of each node alone", "input", "outputs"),
    "chained": ("Error from end to end", "input", "outputs"),
    "trajectory": ("Losses against MXNet's, update by update", "first update", "last update"),
}
STYLE = {HOLDS: "green", RED: "bold red", REPORTED: "dim"}


@dataclass
class Result:
    """A finished run. facts: config, size, grad, seconds, versions, ...; cards: (name, value) for the head of the page."""

    table: Table
    facts: dict
    cards: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    pictures_text: str = ""

    def as_dict(self, *, brief: bool = False) -> dict:
        """What parity.json holds and `--json` prints. brief: without the rows of single nodes that simply hold."""
        rows = Table(row for row in self.table if not (brief and row.is_ordinary))
        return {
            "holds": self.table.holds,
            **self.facts,
            "judged": len(self.table.judged),
            "red": len(self.table.red),
            "summary": [{**entry, "strain": str(entry["strain"])} for entry in self.table.summary()],
            "worst_float64_disagreement": self.table.worst_disagreement,
            "rows": rows.as_list(),
        }


def html_page(result: Result) -> str:
    """The self-contained page."""
    environment = Environment(loader=PackageLoader("dcn_suite.parity", "."), autoescape=True)
    environment.filters |= {"number": number, "share": share}
    table, plots = result.table, []
    for check, (title, *ends) in PLOTTED.items():
        plot = error_by_depth([row for row in table if row.check == check], tuple(ends))
        if plot:
            text = (
                "One dot per row, over the scale of its quantity. Hover for the name. The lowest line is an exact zero."
            )
            plots.append({"title": title, "plot": plot, "text": text})
    checks = dict.fromkeys(row.check for row in table)
    return environment.get_template("report.html.j2").render(
        config=result.facts["config"],
        size=result.facts["size"],
        grad=result.facts["grad"],
        holds=table.holds,
        judged=len(table.judged),
        red=table.red,
        cards=[{"name": name, "value": value} for name, value in result.cards],
        summary=table.summary(),
        explained=EXPLAINED,
        plots=plots,
        pictures=result.pictures,
        pictures_text=result.pictures_text,
        worst=table.worst(10),
        groups=[{"name": check, "rows": [row for row in table if row.check == check]} for check in checks],
        provenance=provenance(result.facts),
    )


def provenance(facts: Mapping) -> str:
    """Who computed what, in a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
    return (
        f"MXNet's side: {facts.get('reference', 'unknown')}. {versions}. Seed {facts.get('seed')}, "
        f"{facts.get('threads')} thread(s), {facts.get('seconds', 0):.0f} s. Truth is float64; a float32 error is compared "
        "with MXNet's own float32 error, twice of which plus one rounding of the scale is allowed; float64 has to agree to "
        "1e-11 of the scale."
    )


def write_report(result: Result, out: Path) -> dict[str, Path]:
    """Writes report.html and parity.json into `out`; returns their paths."""
    paths = {"html": Path(out) / "report.html", "json": Path(out) / "parity.json"}
    texts = {"html": html_page(result), "json": json.dumps(result.as_dict(), indent=1, allow_nan=False)}
    for kind, path in paths.items():
        with atomic_path(path) as temporary:
            temporary.write_text(texts[kind], encoding="utf-8")
    return paths


def print_table(result: Result, console: Console) -> None:
    """Summary, red rows and the most strained ones, in the terminal."""
    table = result.table
    overview = RichTable(title=f"Parity of {result.facts['config']}", title_justify="left")
    for name, right in (
        ("check", False),
        ("rows", True),
        ("hold", True),
        ("by layer", True),
        ("reported", True),
        ("most strained", False),
    ):
        overview.add_column(name, justify="right" if right else "left")
    for entry in table.summary():
        style = "green" if entry["held"] == entry["count"] else "bold red"
        overview.add_row(
            entry["name"],
            str(entry["count"]),
            f"[{style}]{entry['held']}[/]",
            str(entry["by_layer"]),
            str(entry["reported"]),
            entry["worst"],
        )
    console.print(overview)
    if table.red:
        console.print(rows_table("Red rows, in the order of the graph", table.red[:20]))
        if len(table.red) > 20:
            console.print(f"… and {len(table.red) - 20} more in parity.json")
    console.print(rows_table("Most strained rows", [row for row in table.worst(6) if row.verdict != RED]))
    reported = [row for row in table if row.verdict == REPORTED]
    if reported:
        console.print(rows_table("Measured, not judged", reported[:12]))
    verdict = "[bold green]parity holds[/]" if table.holds else "[bold red]parity does not hold[/]"
    console.print(f"{verdict}: {len(table.judged)} rows judged, {len(table.red)} red")


def rows_table(title: str, rows: list[Row]) -> RichTable:
    """what | expected | got | tolerance | verdict."""
    shown = RichTable(title=title, title_justify="left")
    shown.add_column("what", overflow="fold")
    for name in ("expected", "got", "tolerance"):
        shown.add_column(name, justify="right")
    shown.add_column("verdict")
    for row in rows:
        what = f"{row.what}\n[dim]{row.claim}{f' ({row.note})' if row.note else ''}[/]"
        style = STYLE[row.verdict]
        shown.add_row(what, number(row.expected), number(row.got), number(row.tolerance), f"[{style}]{row.verdict}[/]")
    return shown
