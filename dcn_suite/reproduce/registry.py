"""Every row of every table of the paper and of the original's README: experiments/*.yaml and the configurations they name."""

import difflib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dcn_suite.complexity.rows import VARIANTS, experiments_root, paper_rows
from dcn_tasks.config import Config, load_config, read_yaml
from dcn_tasks.errors import InputError

TABLES = (
    "ablation-layers", "dilation", "effective-dilation", "complexity", "coco", "imagenet",
    "readme-voc", "readme-coco", "readme-fpn", "readme-deeplab", "mnist", "small-data",
)  # fmt: skip
FRAMEWORKS = ("mxnet", "torch")
DATA_FOLDER = Path("data")  # where data sets are looked for when nobody says
DATA = {
    "": "none",
    "voc0712": "VOC 2007 and 2012 trainval, VOC 2007 test; ImageNet weights of the backbone",
    "voc12-segmentation": "VOC 2012 segmentation with SBD's masks; ImageNet weights of the backbone",
    "cityscapes": "Cityscapes fine; ImageNet weights of the backbone",
    "coco": "COCO 2014 train and val, test-dev 2015; ImageNet weights of the backbone",
    "coco-35k": "COCO 2014 train and val without minival, minival; ImageNet weights of the backbone",
    "imagenet": "ImageNet-1K's validation images; ImageNet weights of the backbone with their classifier",
    "mnist-cifar10": "MNIST, CIFAR-10",
    "small": "BCCD, Raccoon or CamVid",
}


CPU_UPDATE_S = 5.7  # benchmarks/results/loader_cpu.json: an update of Deformable R-FCN at 600x1000, two threads


@dataclass(frozen=True)
class Row:
    """One line of a published table.

    Args:
        table, name: of its id TABLE/NAME. title: in words. config: of the experiment, "" where there is none.
        published: figures by column; `spread` their standard deviations, where published. source: of the figures.
        own: columns of a comparison of ours, which nobody has published.
        data: key of DATA. folder: of the data set, below the folder of data sets; "": that one itself.
        runs: "training", "classification", "complexity", "effective dilation", "imagenet", or "nothing yet".
        frameworks, seeds: of a complete measurement. images: that a training sees, 0 where none trains.
        setting: of a classification; of an effective dilation the row whose network it is (`of`) and the unit; of an ImageNet
            error the last map and the classifier.
    """

    table: str
    name: str
    title: str
    source: str
    published: dict[str, float]
    config: str = ""
    spread: dict[str, float] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    data: str = ""
    folder: str = ""
    runs: str = "training"
    frameworks: tuple[str, ...] = FRAMEWORKS
    seeds: tuple[int, ...] = (0,)
    images: int = 0
    setting: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.table}/{self.name}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Of its table: those with a published figure, and our own."""
        return (*self.published, *self.own)

    @property
    def measurable(self) -> tuple[str, ...]:
        """The columns that a complete measurement has; run times of whole networks are left to benchmarks."""
        columns = self.setting.get("columns", self.columns)
        return tuple(column for column in columns if " s, " not in column and not column.startswith("seconds"))

    @property
    def has_command(self) -> bool:
        """Whether `dcn reproduce` measures it."""
        return self.runs != "nothing yet"

    @property
    def training(self) -> "Row":
        """The row whose training this one measures: its own, or another's."""
        return find_row(self.setting["of"]) if "of" in self.setting else self

    @property
    def cost(self) -> str:
        """What a run takes, in words."""
        if self.runs == "training":
            if self.own:
                return "a minute of one CPU thread for each seed in PyTorch"
            days = self.images * CPU_UPDATE_S / 86400
            return (
                f"training on {self.images / 1e6:.2f} million images, each framework; {days:.0f} days of two CPU cores if each took "
                f"the {CPU_UPDATE_S} s of Deformable R-FCN at 600×1000 in PyTorch; on a GPU not run"
            )
        return {
            "complexity": "counted in seconds",
            "imagenet": "a pass over 50 000 images; not run",
            "effective dilation": f"the training of {self.setting.get('of')}, once for all, and a pass over the test images",
            "classification": "2 to 5 minutes of one CPU core for each cell of a network, seed and framework; deformable in MXNet 24 to 27",
        }.get(self.runs, "not known")

    def load(self) -> Config:
        """The experiment's configuration. Raises: InputError where it has none, or it is not there."""
        if not self.config:
            raise InputError(f"{self.id}: has no configuration of a single network")
        return load_config(self.config)


@dataclass(frozen=True)
class Table:
    """A published table. note: what to know before running."""

    id: str
    title: str
    source: str
    rows: tuple[Row, ...]
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that any row has, in the order of first mention."""
        return tuple(dict.fromkeys(column for row in self.rows for column in row.columns))


def tables() -> tuple[Table, ...]:
    """Every table, in the order of TABLES."""
    return tuple(find_table(name) for name in TABLES)


def read_table(name: str) -> Table:
    """A table of experiments/NAME.yaml: rows are its `systems`, or each of them in each of the `variants`."""
    values = read_yaml(experiments_root() / f"{name}.yaml")
    left_out = {
        (system, variant)
        for group in values.get("without", ())
        for system in group["systems"]
        for variant in group["variants"]
    }
    rows = [
        read_row(name, values, system, variant)
        for system in values["systems"]
        for variant in values.get("variants", {"": ""})
        if (system, variant) not in left_out
    ]
    return Table(name, values["title"], values["source"], tuple(rows), values.get("note", ""))


def read_row(table: str, values: dict[str, Any], system: str, variant: str) -> Row:
    facts = {**values, **values["systems"][system]}
    words = values.get("variants", {}).get(variant, "")
    name = f"{system}-{variant}" if variant else system
    config = facts.get("config", "").format(row=name)
    expected = load_config(config).expected if config and "published" not in facts else {}
    published = facts.get("published") or {
        column: expected[column] for column in facts.get("columns", ()) if column in expected
    }
    return Row(
        table=table,
        name=name,
        title=f"{facts['name']}: {words}" if words else facts["name"],
        source=expected.get("source", values["source"]),
        published=dict(published),
        config=config,
        spread=facts.get("spread", {}),
        own=tuple(facts.get("own", ())),
        data=facts.get("data", ""),
        folder=facts.get("folder", ""),
        runs=facts["runs"],
        frameworks=tuple(facts.get("frameworks", FRAMEWORKS)),
        seeds=tuple(facts.get("seeds", (0,))),
        images=facts.get("images", 0),
        setting=facts.get("setting", {}),
    )


def complexity_table() -> Table:
    """The rows that `dcn complexity` counts; both variants of a network are one row."""
    source = "arXiv 1703.06211 v3, table 4 (table 5 of the ICCV version)"
    rows = []
    for row in paper_rows():
        figures = {"million parameters": row.million_parameters, "forward s": row.forward_s, "overall s": row.overall_s}
        published = {
            f"{what}, {variant}": pair[place]
            for what, pair in figures.items()
            for place, variant in enumerate(VARIANTS)
        }
        rows.append(
            Row("complexity", row.id.partition("/")[2], row.name, source, published, runs="complexity", frameworks=("torch",))
        )  # fmt: skip
    note = "Counted here; run times by `dcn complexity --time` stand in docs/complexity.md, not here."
    return Table("complexity", "Parameters and run time", source, tuple(rows), note)


@cache
def find_table(name: str) -> Table:
    """Raises: InputError with the nearest names."""
    if name not in TABLES:
        raise InputError(f"{name}: no such table; {nearest(name, list(TABLES))}")
    return complexity_table() if name == "complexity" else read_table(name)


def find_row(id: str) -> Row:
    """The row of TABLE/ROW. Raises: InputError with the nearest names."""
    table, _, name = id.partition("/")
    rows = find_table(table).rows
    for row in rows:
        if row.name == name:
            return row
    raise InputError(f"{id}: no such row; {nearest(id, [row.id for row in rows])}")


def nearest(name: str, known: list[str]) -> str:
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known[:3]
    return f"near: {', '.join(found)} (`dcn reproduce` lists all)"


def results_root() -> Path:
    """Where results stand unless --results says otherwise: beside the tables."""
    return experiments_root() / "results"
