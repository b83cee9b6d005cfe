"""The counts beside the paper's, with every difference named."""

from collections.abc import Sequence
from dataclasses import dataclass

from dcn_suite.complexity.count import Count, count
from dcn_suite.complexity.rows import VARIANTS, PaperRow, paper_rows
from dcn_tasks.config import Config, load_config
from dcn_tasks.errors import InputError

MILLION = 1e6
PAPER_ROUNDING = 0.05  # millions, of each figure of the paper


@dataclass(frozen=True)
class CountedRow:
    """A row of the paper and the counts of its two networks."""

    row: PaperRow
    counts: tuple[Count, Count]

    def counted(self, variant: int) -> float:
        """Millions, by the paper's rule."""
        return self.counts[variant].without(self.row.not_counted) / MILLION

    def gap(self, variant: int) -> float:
        """Millions that the paper has more."""
        return self.row.million_parameters[variant] - self.counted(variant)

    @property
    def added(self) -> float:
        """Millions that deformation adds, counted."""
        return self.counted(1) - self.counted(0)

    def rounding(self) -> str:
        """Whether the paper's difference, of two figures rounded to 0.1 M, allows the counted one."""
        difference = self.row.million_parameters[1] - self.row.million_parameters[0]
        beyond = abs(self.added - difference) - 2 * PAPER_ROUNDING
        verdict = "equal within its rounding" if beyond <= 0 else f"{beyond:.2f} M beyond its rounding"
        return f"the paper: {difference:.1f} M, {verdict}"

    def explanation(self) -> list[str]:
        """Sentences with figures: what is counted, what deformation adds, what is left unexplained."""
        plain, deformable = self.counts
        paper = self.row.million_parameters
        pieces = [
            f"{deformable.parts[part] / MILLION:.3f} M {part}"
            for part in ("offsets of convolutions", "offsets of RoI pooling")
            if deformable.parts[part]
        ]
        sentences = [f"Deformation adds {self.added:.3f} M ({' + '.join(pieces)}); {self.rounding()}."]
        if self.row.not_counted:
            left_out = sum(plain.parts[part] for part in self.row.not_counted) / MILLION
            sentences.append(
                f"The paper took fixed proposals of a network of their own on VOC, so its count has no {self.row.not_counted[0]} "
                f"({left_out:.2f} M here): with them this row would be {paper[0] - plain.total / MILLION:+.2f} M from the paper."
            )
        if groups := self.row.offset_groups_of_the_code:
            more = deformable.parts["offsets of convolutions"] * (groups - 1) / MILLION
            sentences.append(
                f"One offset group, as in the paper; the original code's configuration has {groups}: {more:.3f} M more."
            )
        sentences.append(
            f"Left: the paper counts {self.gap(0):.2f} M more in the plain network and {self.gap(1):.2f} M more in the "
            "deformable one."
        )
        return sentences


def counted_rows(only: Sequence[str] = ()) -> tuple[list[CountedRow], list[PaperRow]]:
    """The rows whose networks are built here, counted; and those that are not.

    Args: only: ids of the rows wanted; none: all.
    Raises: InputError for an id that no row has.
    """
    known = {row.id: row for row in paper_rows()}
    for wanted in only:
        if wanted not in known:
            raise InputError(f"--row: expected one of {', '.join(known)}, got {wanted!r}")
    rows = [row for row in paper_rows() if not only or row.id in only]
    built = [CountedRow(row, (counted(row.load(0)), counted(row.load(1)))) for row in rows if row.built]
    return built, [row for row in rows if not row.built]


def counted(cfg: Config) -> Count:
    """A network, with the multiply-adds of one picture that fills its SCALES."""
    return count(cfg, size=cfg.SCALES[0])


def counted_config(name: str) -> Count:
    """Any configuration as it stands."""
    return counted(load_config(name))


def surplus(rows: list[CountedRow]) -> tuple[float, float]:
    """Least and largest gap over all rows and variants, millions."""
    gaps = [row.gap(variant) for row in rows for variant in range(len(VARIANTS))]
    return min(gaps), max(gaps)
