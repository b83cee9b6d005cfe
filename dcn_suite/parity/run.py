"""A whole parity run: MXNet's side recorded or read, PyTorch's side computed, the table and the report."""

import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from dcn_suite.parity.chained import chained_rows
from dcn_suite.parity.freerunning import FreeRun
from dcn_suite.parity.isolated import isolated_rows
from dcn_suite.parity.labels import LabelRun
from dcn_suite.parity.memory import give_back
from dcn_suite.parity.port import Port
from dcn_suite.parity.reference import Arrays, Reference
from dcn_suite.parity.report import Result
from dcn_suite.parity.rows import RED, Row, Table, failed_row, number, share
from dcn_suite.parity.segments import Node, Segment, only_in_test, segments_of
from dcn_suite.pictures import beside, data_uri, draw_detections
from dcn_tasks.config import Config, load_config, to_plain
from dcn_tasks.errors import InputError
from dcn_tasks.recording import Recording
from dcn_tasks.streams import Draws
from dcn_tasks.task import SEGMENTATION, task_of
from torch_port.models import Network, build_network
from weights_convert import Params, WeightsFile, node_map, tensor_paths, to_torch

Step = Callable[[str], None]
Spoil = Callable[[Network], None]
DRAWN = 0.3  # boxes above this score are drawn


@dataclass(frozen=True)
class Settings:
    """What a run compares.

    size: (height, width) of the photo in the network, pixels. grad: gradients too. seed: of weights, boxes, draws.
    float64: False leaves the float64 runs from end to end to single nodes and final outputs, for large photos; with grad: True.
    use_test_weights: of the conversion. weights: already converted ones; None: converted here.
    spoil: changes PyTorch's networks first, to see whether that is noticed.
    """

    size: tuple[int, int]
    grad: bool = False
    seed: int = 0
    float64: bool = True
    use_test_weights: bool = True
    weights: WeightsFile | None = None
    spoil: Spoil | None = None


def compare(
    reference: Reference, cfg: Config, settings: Settings, *, scratch: Path, step: Step = lambda text: None
) -> Result:
    """PyTorch's side against a reference.

    Args: cfg: of the reference's network, SCALES included. scratch: a folder for PyTorch's activations.
    """
    start = time.monotonic()
    bench = Bench(reference, cfg, settings)
    table = Table()
    kind = "train" if settings.grad else "test"
    segments, orphans = bench.segments(kind)
    table.add(*(orphan_row(node) for node in orphans))
    add_isolated(table, bench, kind, segments, step)
    if settings.grad:
        add_isolated(
            table, bench, "test", only_in_test(reference.parameter_names(), segments, bench.segments("test")[0]), step
        )

    def make_port(dtype: str) -> Port:
        return bench.judged_port(kind, dtype)

    with failures(table, "chained"):
        table.add(
            *chained_rows(reference, make_port, segments, kind=kind, grad=settings.grad, scratch=scratch, step=step)
        )
    give_back()
    step("PyTorch float32, deciding alone and with MXNet's decisions")
    free = free_run(reference, bench.segments("test")[0], cfg)
    alone, replaying = (bench.port("test", "float32", onednn=True) for _ in range(2))
    with ThreadPoolExecutor(max_workers=1) as thread:  # each waits for the disk half of its time
        replayed = thread.submit(lambda: list(free.replayed_rows(replaying)))
        with failures(table, "free-running"):
            table.add(*free.run(alone))
        with failures(table, "detections"):
            table.add(*replayed.result())
    facts = {
        "config": reference.about.get("name", "a configuration"),
        "size": "x".join(str(side) for side in reference.about["size"]),
        "grad": settings.grad,
        "float64": reference.has_float64,
        "seed": reference.about["seed"],
        "threads": torch.get_num_threads(),
        "seconds": time.monotonic() - start,
        "reference": f"{reference.recording.recorded_by}, {reference.source}",
        "versions": {**reference.about["versions"], **versions()},
    }
    return Result(table, facts, cards(table, segments, free), *pictures(reference, free, cfg))


def free_run(reference: Reference, segments: list[Segment], cfg: Config) -> FreeRun | LabelRun:
    """The comparison of what a user sees: boxes or label maps."""
    kind = LabelRun if task_of(cfg) is SEGMENTATION else FreeRun
    return kind(reference, segments, cfg)


def add_isolated(table: Table, bench: "Bench", kind: str, segments: list[Segment], step: Step) -> None:
    """The rows of single nodes of one graph; gradients in the training graph."""
    step("loading the network")
    give_back()
    ports = {dtype: bench.judged_port(kind, dtype) for dtype in ("float32", "float64")}
    nodes = isolated_rows(bench.reference, ports, segments, kind=kind, grad=kind == "train")
    for index, rows in enumerate(nodes):
        step(f"node {index + 1} of {len(segments)}: {segments[index].name}")
        table.add(*rows)


@contextmanager
def failures(table: Table, check: str) -> Iterator[None]:
    """A mistake may be so large that PyTorch's network does not run: that is a red row, not the end of the report."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        table.add(failed_row(check, "the whole network", str(error)))


def pictures(reference: Reference, free: FreeRun | LabelRun, cfg: Config) -> tuple[list[str], str]:
    """The photo with each framework's boxes or labels, and the sentence above it."""
    if isinstance(free, LabelRun):
        return free.pictures()
    if len(free.found) < 2:
        return [], ""
    names = ["background", *(cfg.dataset.CLASS_NAMES or [str(index) for index in range(1, cfg.dataset.NUM_CLASSES)])]
    scale = max(1, 480 // reference.photo.shape[1])
    drawn = [
        draw_detections(reference.photo, found, names, threshold=DRAWN, scale=scale) for found in free.found.values()
    ]
    counts = ", ".join(f"{name}: {len(found.above(DRAWN))}" for name, found in free.found.items())
    text = f"Boxes above {DRAWN} ({counts}), each framework deciding on its own."
    return [data_uri(beside(*drawn, titles=list(free.found)), quality=90)], text


@dataclass
class Bench:
    """Builds PyTorch's networks for one reference. built: by whether they have the `_test` weights, in float32; never run."""

    reference: Reference
    cfg: Config
    settings: Settings
    built: dict[bool, Network] = field(default_factory=dict)

    def segments(self, kind: str) -> tuple[list[Segment], list[Node]]:
        modules = node_map(self.cfg, kind == "train")
        return segments_of(self.reference.nodes(kind), modules, tensor_paths(self.cfg))

    def judged_port(self, kind: str, dtype: str) -> Port:
        """One whose layers are judged: with oneDNN unless gradients are, see Port."""
        return self.port(kind, dtype, onednn=not self.settings.grad)

    def port(self, kind: str, dtype: str, *, onednn: bool) -> Port:
        """One with a network of its own: a comparison makes nine, and drawing weights only to replace them takes seconds."""
        test = kind == "test" and self.settings.use_test_weights
        if test not in self.built:
            self.built[test] = self.network(test)
        draws = Draws(self.reference.about["seed"])
        return Port(copy.deepcopy(self.built[test]), dtype, kind == "train", draws, onednn)

    def network(self, test: bool) -> Network:
        network = build_network(self.cfg)
        if self.settings.weights is not None:
            state = self.settings.weights.state | ({} if test else self.settings.weights.train)
        else:
            state = to_torch(params_of(self.reference.parameters()), self.cfg, use_test_weights=test)
        network.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
        if self.settings.spoil:
            self.settings.spoil(network)
        return network


def params_of(arrays: Arrays) -> Params:
    """arg:NAME, aux:NAME -> Params."""
    split = {"arg": {}, "aux": {}}
    for key, value in arrays.items():
        state, _, name = key.partition(":")
        split[state][name] = value
    return Params(**split)


def orphan_row(node: Node) -> Row:
    """A node that computes something and has no counterpart."""
    claim = f"every node that computes has a module in PyTorch; {node.op} has none"
    return Row("isolated", node.name, "counterpart", claim, 1, 0, 0, RED, strain=float("inf"))


def cards(table: Table, segments: list[Segment], free: FreeRun | LabelRun) -> list[tuple[str, str]]:
    """The numbers at the head of the page."""
    ratios = [row.strain for row in table.judged]
    return [
        ("nodes of MXNet's graph with a counterpart", str(len(segments))),
        ("rows judged", str(len(table.judged))),
        ("worst float64 disagreement, of scale", number(max((row.disagreement for row in table), default=0.0))),
        ("worst row, of its tolerance", share(max(ratios, default=0.0))),
        free.card(),
    ]


def versions() -> dict[str, str]:
    """Of what took part."""
    found = {}
    for name in ("mxnet", "torch", "numpy", "dcn-port"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def config_of(reference: Reference, config: str | Path | Config, settings: Settings) -> Config:
    """The configuration named, at the size of the recording.

    Raises: InputError for a recording of another network, or made with or without gradients where the other is wanted.
    """
    folder, about = reference.recording.folder, reference.about
    cfg = load_config(config, SCALES=about["config"]["SCALES"])
    try:
        differing = list(differences(to_plain(cfg), about["config"]))
    except RecursionError as error:
        raise InputError(f"{folder}: the recorded configuration is nested too deeply: record it again") from error
    if differing:
        raise InputError(
            f"{folder}: recorded from {about['name']}, whose {', '.join(differing)} differs from that of the configuration "
            "named: name that one, or record again"
        )
    if about["isolated"] and about["grad"] != settings.grad:
        made, remedy = ("with", "add") if about["grad"] else ("without", "leave out")
        raise InputError(f"{folder}: made {made} gradients: {remedy} --grad")
    return cfg


@contextmanager
def recorded_graphs(folder: Path) -> Iterator[None]:
    """Within: a comparison against graphs that somebody may have edited: nodes without their attributes, inputs or outputs.

    Raises: InputError for what such nodes end in.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, StopIteration) as error:
        raise InputError(
            f"{folder}: expected graphs that the network of its configuration can be compared with, got {error!r}: record again"
        ) from error


def differences(one: dict, other: dict, group: str = "") -> Iterator[str]:
    """Names of the keys that both have and that differ; a later version may know more keys.

    Lower case are the optimiser's keys, paths and names, which a forward and backward pass does not see.
    """
    for key in sorted(one.keys() & other.keys()):
        if key.islower() and key not in ("network", "dataset", "symbol"):
            continue
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            yield from differences(one[key], other[key], f"{group}{key}.")
        elif plain_value(one[key]) != plain_value(other[key]):
            yield f"{group}{key}"


def plain_value(value: object) -> object:
    return [plain_value(each) for each in value] if isinstance(value, list | tuple) else value


def run_parity(
    config: str | Path | Config,
    settings: Settings,
    *,
    recording: Path | None = None,
    record_to: Path | None = None,
    parameters: Arrays | None = None,
    step: Step = lambda text: None,
) -> Result:
    """Proves one configuration's network.

    Args:
        config: name, path or loaded. recording: MXNet's side, already recorded: MXNet is not needed then.
        record_to: keep what MXNet computes here, node by node too. parameters: of a checkpoint; None: random, calibrated.
    Raises: InputError when MXNet is wanted and not installed, or the recording is of something else.
    """
    with ExitStack() as stack:
        work = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="dcn-parity-", dir=os.environ.get("DCN_WORK")))
        )
        if recording is not None:
            reference = Reference(Recording(recording))
            cfg = config_of(reference, config, settings)
            stack.enter_context(recorded_graphs(recording))
        else:
            from dcn_suite.parity.record import record

            height, width = settings.size
            cfg = load_config(config, SCALES=[min(height, width), max(height, width)])
            reference = record(
                cfg,
                work / "recording",
                name=str(config) if not isinstance(config, Config) else "a configuration",
                size=settings.size,
                grad=settings.grad,
                seed=settings.seed,
                float64=settings.float64,
                keep_at=record_to,
                parameters=parameters,
                step=step,
            )
        return compare(reference, cfg, settings, scratch=work / "scratch", step=step)
