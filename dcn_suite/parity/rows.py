"""The table of a parity run: one row per (check, node, quantity), and what it amounts to."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from dcn_suite.parity.judge import Judgement

HOLDS, RED, REPORTED = "holds", "red", "reported"


@dataclass(frozen=True)
class Row:
    """One line: what | expected | got | tolerance | verdict.

    check: isolated, chained, free-running, detections, network or trajectory. node: MXNet's name. quantity: output, d data, ...
    expected, got, tolerance: numbers, or words. verdict: holds, red, or reported (measured, not judged).
    strain: got over tolerance. depth: place of the node in the graph. measures: every number behind the verdict.
    """

    check: str
    node: str
    quantity: str
    claim: str
    expected: float | int | str
    got: float | int | str
    tolerance: float | int | str
    verdict: str
    strain: float = 0.0
    depth: int = 0
    operator: str = ""
    note: str = ""
    measures: dict = field(default_factory=dict)

    @property
    def is_ordinary(self) -> bool:
        """One of the many: a single node's quantity, nothing remarkable about it."""
        return bool(self.measures) and self.verdict != RED and not self.measures.get("by_layer")

    @property
    def disagreement(self) -> float:
        """Of the float64 witnesses, over the quantity's scale; 0 where that was not measured."""
        error, scale = self.measures.get("function_error"), self.measures.get("scale")
        return error / scale if error and scale else 0.0

    @property
    def what(self) -> str:
        return f"{self.check} · {self.node} · {self.quantity}"


def judged_row(check: str, node: str, quantity: str, judgement: Judgement, **extra) -> Row:
    """The row of a judgement: its first broken claim, or its most strained one."""
    worst = judgement.worst
    measures = {
        name: getattr(judgement, name)
        for name in ("scale", "function_error", "error_mxnet", "error_torch", "apart", "elements", "by_layer")
    }
    notes = [f"{judgement.apart} of {judgement.elements} on the kink"] if judgement.apart else []
    if judgement.by_layer:
        times = judgement.error_torch / judgement.error_mxnet if judgement.error_mxnet else math.inf
        notes.append(f"{number(times)} times MXNet's error of this quantity alone")
    note = "; ".join(notes)
    return Row(
        check,
        node,
        quantity,
        worst.what,
        worst.expected,
        worst.got,
        worst.tolerance,
        HOLDS if judgement.holds else RED,
        strain=worst.strain,
        measures=measures,
        **{"note": note, **extra},
    )


def counted_row(check: str, node: str, quantity: str, claim: str, got: int, allowed: int = 0, **extra) -> Row:
    """A row about a count (unmatched boxes, differing labels) of which `allowed` may be there."""
    verdict = HOLDS if got <= allowed else RED
    return Row(
        check, node, quantity, claim, 0, got, allowed, verdict, strain=0.0 if got <= allowed else math.inf, **extra
    )


def failed_row(check: str, node: str, message: str, **extra) -> Row:
    """A row about something that did not even run in PyTorch."""
    return Row(
        check, node, "run", "PyTorch's module runs", "a result", "an error", "—", RED, math.inf, note=message, **extra
    )


def reported_row(check: str, node: str, quantity: str, claim: str, expected, got, **extra) -> Row:
    """A measured row that is not judged."""
    return Row(check, node, quantity, claim, expected, got, "—", REPORTED, **extra)


class Table:
    """Rows in the order they were found."""

    def __init__(self, rows: Iterable[Row] = ()):
        self.rows = list(rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, *rows: Row) -> None:
        self.rows.extend(rows)

    @property
    def red(self) -> list[Row]:
        return [row for row in self.rows if row.verdict == RED]

    @property
    def judged(self) -> list[Row]:
        return [row for row in self.rows if row.verdict != REPORTED]

    @property
    def holds(self) -> bool:
        """Whether something was judged and nothing is red: an empty table proves nothing."""
        return bool(self.judged) and not self.red

    def worst(self, count: int = 10) -> list[Row]:
        """The most strained judged rows."""
        return sorted(self.judged, key=lambda row: -row.strain)[:count]

    @property
    def worst_disagreement(self) -> dict:
        """of_scale, what: the row whose float64 witnesses differ most; empty without rows."""
        row = max(self.rows, key=lambda row: row.disagreement, default=None)
        return {"of_scale": plain(row.disagreement), "what": row.what} if row else {}

    def summary(self) -> list[dict]:
        """One entry per check: name, count, held, reported, by_layer, apart, worst (a sentence), strain."""
        entries = []
        for check in dict.fromkeys(row.check for row in self.rows):
            rows = [row for row in self.rows if row.check == check]
            judged = [row for row in rows if row.verdict != REPORTED]
            worst = max(judged, key=lambda row: row.strain, default=None)
            entries.append(
                {
                    "name": check,
                    "count": len(judged),
                    "held": sum(row.verdict == HOLDS for row in judged),
                    "reported": len(rows) - len(judged),
                    "by_layer": sum(bool(row.measures.get("by_layer")) for row in rows),
                    "apart": sum(row.measures.get("apart", 0) for row in rows),
                    "worst": f"{worst.node} · {worst.quantity}, {share(worst.strain)} of the tolerance"
                    if worst
                    else "",
                    "strain": worst.strain if worst else 0.0,
                }
            )
        return entries

    def as_list(self) -> list[dict]:
        """Plain data for JSON: not-finite numbers as words."""
        return [{key: plain(value) for key, value in asdict(row).items()} for row in self.rows]


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def share(strain: float) -> str:
    """got over tolerance for a table cell."""
    return "∞" if not math.isfinite(strain) else f"{100 * strain:.0f} %" if strain < 100 else f"{strain:.0f} x"


def number(value: float | int | str) -> str:
    """A number for a table cell: whole ones whole, others with three digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or value == 0:
        return str(int(value))
    if not math.isfinite(value):
        return "∞" if value > 0 else str(value)
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"
