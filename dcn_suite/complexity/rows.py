"""The rows of the paper's table, and the configurations that stand for them."""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import yaml

from dcn_tasks.config import Config, config_names, load_config

VARIANTS = ("plain", "deformable")


@dataclass(frozen=True)
class PaperRow:
    """One network, plain and deformable; pairs are (plain, deformable), times in seconds.

    not_counted: parts of the network that the paper's count leaves out. offset_groups_of_the_code: of the original's later
    configuration of this network, where it has another number than the paper's one; 0: the same.
    """

    id: str
    name: str
    configs: tuple[str, str]
    forward_s: tuple[float, float]
    overall_s: tuple[float, float]
    not_counted: tuple[str, ...]
    offset_groups_of_the_code: int

    @property
    def built(self) -> bool:
        """Whether both configurations are there."""
        return set(self.configs) <= set(config_names())

    @cached_property
    def million_parameters(self) -> tuple[float, float]:
        """The paper's figures."""
        plain, deformable = (float(load_config(name).expected["million parameters"]) for name in self.configs)
        return plain, deformable

    def load(self, variant: int) -> Config:
        """The configuration of the plain (0) or deformable (1) network as the paper describes it."""
        return load_config(self.configs[variant])


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """The table, from experiments/complexity.yaml."""
    table = yaml.safe_load((experiments_root() / "complexity.yaml").read_text(encoding="utf-8"))
    return tuple(
        PaperRow(
            id=row["id"],
            name=row["name"],
            configs=(row["plain"], row["deformable"]),
            forward_s=tuple(row["forward_s"]),
            overall_s=tuple(row["overall_s"]),
            not_counted=tuple(row.get("not_counted", ())),
            offset_groups_of_the_code=row.get("offset_groups_of_the_code", 0),
        )
        for row in table["rows"]
    )


def experiments_root() -> Path:
    """The folder of published figures: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"
