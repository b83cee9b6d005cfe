"""What could the paper have counted? Every candidate with its figures, and whether it explains the rows."""

from collections.abc import Callable
from dataclasses import dataclass

from dcn_suite.complexity.rows import VARIANTS
from dcn_suite.complexity.table import MILLION, PAPER_ROUNDING, CountedRow

CLASSIFIER = 2048 * 1000 + 1000  # fc1000 of ImageNet
RES4_UNIT = 2 * 1024 * 256 + 9 * 256 * 256 + 2 * (256 + 256 + 1024)  # convolutions, gamma and beta
SEGMENTER = 2048 * 1024 + 1024 + 1025 * 21  # DeepLab's head: fc6 and 21 scores
HEADS = (
    "counted otherwise",
    "plain",
    "deformable",
    "figures met",
    "a constant for all plain networks",
    "figures met with it",
)


@dataclass(frozen=True)
class Hypothesis:
    """Another way of counting. count: (row, variant) -> millions."""

    name: str
    count: Callable[[CountedRow, int], float]

    def missing(self, row: CountedRow, variant: int) -> float:
        """Millions that the paper still has more."""
        return row.row.million_parameters[variant] - self.count(row, variant)

    def met(self, rows: list[CountedRow], constant: float = 0) -> str:
        """How many figures of the paper it gives within their rounding, with a constant number of millions besides."""
        left = [self.missing(row, variant) - constant for row in rows for variant in range(len(VARIANTS))]
        return f"{sum(abs(each) <= PAPER_ROUNDING for each in left)} of {len(left)}"

    def constant(self, rows: list[CountedRow]) -> tuple[float, float] | None:
        """Least and largest millions that, added to every plain network, would give the paper's figures; None: no number does."""
        needed = [self.missing(row, 0) for row in rows]
        least, most = max(needed) - PAPER_ROUNDING, min(needed) + PAPER_ROUNDING
        return (least, most) if least <= most else None


def more(name: str, extra: Callable[[CountedRow, int], float]) -> Hypothesis:
    """Counted by the paper's rule, and `extra` parameters besides."""
    return Hypothesis(name, lambda row, variant: row.counted(variant) + extra(row, variant) / MILLION)


def hidden(row: CountedRow, variant: int) -> int:
    """Parameters that the paper's rule leaves out."""
    return sum(row.counts[variant].parts[part] for part in row.row.not_counted)


def boxes(row: CountedRow, variant: int) -> int:
    """Parameters of box regression among those that are counted."""
    kept = row.counts[variant].boxes
    return sum(number for part, number in kept.items() if part not in row.row.not_counted)


def without_boxes(row: CountedRow, variant: int) -> int:
    """Box regression left out, and the class-aware RPN's head taken for DeepLab's: the paper has the same figures for both."""
    if row.row.id == "complexity/class-aware-rpn":
        return SEGMENTER - row.counts[variant].parts["region proposals"]
    return -boxes(row, variant)


HYPOTHESES = (
    more("by the rule above", lambda row, variant: 0),
    more("a bias for every convolution of the backbone", lambda row, v: row.counts[v].parts["normalisation"] / 2),
    more("running means and variances too", lambda row, v: row.counts[v].statistics),
    more("the ImageNet classifier left in the file", lambda row, v: CLASSIFIER),
    more("region proposals too", hidden),
    more("one more unit in res4", lambda row, v: RES4_UNIT),
    more("box regression left out", lambda row, v: -boxes(row, v)),
    more("box regression left out, class-aware RPN as DeepLab", without_boxes),
    Hypothesis("in units of 2^20", lambda row, v: row.counted(v) * MILLION / 2**20),
)


def table(rows: list[CountedRow]) -> list[list[object]]:
    """A line for each hypothesis, in the order of HEADS: what the paper still has more, least to most over the networks."""
    lines: list[list[object]] = []
    for hypothesis in HYPOTHESES:
        spans = []
        for variant in range(len(VARIANTS)):
            left = [hypothesis.missing(row, variant) for row in rows]
            spans.append(f"{min(left):+.2f} to {max(left):+.2f}")
        constant = hypothesis.constant(rows)
        shown = (
            [f"{constant[0]:.2f} to {constant[1]:.2f} M", hypothesis.met(rows, sum(constant) / 2)]
            if constant
            else ["none", ""]
        )
        lines.append([hypothesis.name, *spans, hypothesis.met(rows), *shown])
    return lines


def offset_bounds(rows: list[CountedRow]) -> list[tuple[str, float, float]]:
    """Per network: least and most millions that its offset convolutions may have for the paper's difference to be what it is,
    offsets of RoI pooling counted as built."""
    bounds = []
    for row in rows:
        plain, deformable = row.row.million_parameters
        pooling = row.counts[1].parts["offsets of RoI pooling"] / MILLION
        middle = deformable - plain - pooling
        bounds.append((row.row.name, middle - 2 * PAPER_ROUNDING, middle + 2 * PAPER_ROUNDING))
    return bounds


def fitting(rows: list[CountedRow]) -> list[str]:
    """A sentence for each hypothesis with which one constant gives every plain figure."""
    sentences = []
    for hypothesis in HYPOTHESES:
        if constant := hypothesis.constant(rows):
            middle = sum(constant) / 2
            sentences.append(
                f"“{hypothesis.name[0].upper()}{hypothesis.name[1:]}” comes closest: {middle:.2f} M more in the backbone gives "
                f"every plain figure, {hypothesis.met(rows, middle)} in all."
            )
    return sentences or ["No hypothesis has such a number."]


def certain(rows: list[CountedRow]) -> list[str]:
    """What follows from the paper's figures and the counts alone."""
    bounds = offset_bounds(rows)
    built = rows[0].counts[1].parts["offsets of convolutions"] / MILLION
    lowest, highest = max(bounds, key=lambda each: each[1]), min(bounds, key=lambda each: each[2])
    apart = lowest[1] > highest[2]
    above = min(-row.gap(0) + hidden(row, 0) / MILLION for row in rows if row.row.not_counted)
    sentences = [
        f"Region proposals are not in the paper's count of the detectors: with them every one would be {above:.1f} M or more above it.",
        f"One offset group: with four, deformation would add {3 * built:.2f} M more than counted, which no row leaves room for.",
        f"Three offset convolutions of one group are {built:.3f} M. The paper's differences allow "
        + ", ".join(f"{max(least, 0):.2f} to {most:.2f} M ({name})" for name, least, most in bounds)
        + ".",
    ]
    if apart:
        sentences.append(
            f"No number is in all of these: {lowest[0]} asks for at least {lowest[1]:.2f} M, {highest[0]} allows {highest[2]:.2f} M. "
            "So the paper's table cannot be met in every row by one network and one rule of counting, whatever the backbone."
        )
    return sentences
