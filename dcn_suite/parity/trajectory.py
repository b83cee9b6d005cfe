"""The same training steps in both frameworks, from the same weights, on the same generated scenes.

PyTorch trains twice: once with MXNet's decisions replayed, whose losses have to agree at every step; once deciding alone,
reported up to the first step at which it selects other RoIs, samples or hard RoIs. For curves a third time, with MXNet's
selections replayed and nothing else.

Decisions are selections, ReLU masks, pooled pixels and bilinear cells, as in the chained comparison, but offsets stay
PyTorch's own wherever they lead into MXNet's cell. Training starts from zero offsets, on the edges of the cells and, at
the border, on the jump of MXNet's rule: a few offsets that differ by one rounding would part the losses of correct code.
How many decisions differed is judged too, so that a mistake cannot hide behind them.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dcn_suite.parity.chained import KINDS
from dcn_suite.parity.decisions import decisions_of
from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.report import Result
from dcn_suite.parity.rows import HOLDS, RED, Row, Table, counted_row, number, reported_row
from dcn_suite.parity.run import Settings, versions
from dcn_suite.parity.segments import Segment, segments_of
from dcn_tasks.config import Config, load_config
from dcn_tasks.recipe import schedule_of
from dcn_tasks.streams import Draws
from dcn_tasks.task import Task, task_of
from dcn_tasks.training_loop import Image
from torch_port.models import build_network, replaying
from torch_port.models.replay import ReplayReport
from torch_port.training import Training, training_for
from weights_convert import Params, node_map, tensor_paths, to_torch

CHECK = "trajectory"
LOSS_TOLERANCE = 1e-4  # relative: float32 rounding of a forward pass, grown over twenty updates
WEIGHT_TOLERANCE = 1e-4  # relative, all weights and statistics as one vector
DECISIONS_PARTED = (
    1e-4  # share of an update's decisions that a rounding may turn; a handful of 600 000 in the narrow nets
)
Arrays = dict[str, np.ndarray]
Step = Callable[[str], None]


@dataclass
class Update:
    """One update in MXNet: batch, what its decisions are read from by entry key, losses; (arg, aux) after it, when asked."""

    number: int
    batch: Arrays
    entries: Arrays
    losses: dict[str, float]
    weights: Callable[[], tuple[Arrays, Arrays]]


@dataclass
class Start:
    """Where both frameworks start, and the graph's segments that decide; the selecting ones among them."""

    arg: Arrays
    aux: Arrays
    deciding: list[Segment] = field(default_factory=list)

    @property
    def selecting(self) -> list[Segment]:
        return [segment for segment in self.deciding if segment.selects]


def starting_point(cfg: Config, seed: int, *, calibrated: bool = False) -> Start:
    """The original's initial weights; calibrated ones where frozen statistics have to fit the weights, or where asked for."""
    import mxnet_ref
    from dcn_suite.parity.photo import photo_of
    from mxnet_ref.witness import Witness

    if calibrated or cfg.network.USE_GLOBAL_STATS:
        arg, aux = mxnet_ref.calibrated_init(cfg, photo_of(*cfg.SCALES[0]), seed)
    else:
        arg, aux = mxnet_ref.init_params(cfg, seed=seed, pretrained=False)
    nodes = Witness(mxnet_ref.build_symbol(cfg, True), arg, aux, "float32").nodes.values()
    segments, _ = segments_of(nodes, node_map(cfg, True), tensor_paths(cfg))
    return Start(arg, aux, [segment for segment in segments if segment.kind in KINDS])


def mxnet_updates(cfg: Config, start: Start, steps: int, seed: int) -> Iterator[Update]:
    """MXNet's own trainer; its decisions come from a forward pass of the same graph with the same weights."""
    import mxnet_ref
    from mxnet_ref.operators import set_draws
    from mxnet_ref.trainer import Trainer
    from mxnet_ref.witness import Witness

    symbol = mxnet_ref.build_symbol(cfg, True)
    keys = {key for segment in start.deciding for key in (*segment.inputs, *segment.outputs)}
    trainer, task = None, task_of(cfg)
    for number_, batch in zip(range(1, steps + 1), mxnet_ref.scene_batches(cfg, seed=seed), strict=False):
        trainer = trainer or Trainer(cfg, batch, start.arg, start.aux, schedule_of(cfg, steps))
        draws = Draws(seed, number_)
        set_draws(draws)
        entries: Arrays = {}

        def keep(key: str, array: np.ndarray, entries: Arrays = entries) -> None:
            if key in keys:
                entries[key] = array

        Witness(symbol, *trainer.parameters(), "float32").chain(batch, is_train=True, grad=False, sink=keep)
        outputs = trainer.update([Image(batch, draws)]).outputs[0]
        metrics = task.metrics(outputs, batch)
        yield Update(number_, batch, entries, {name: metrics[name] for name in task.losses}, trainer.parameters)


def torch_training(cfg: Config, start: Start, steps: int, settings: Settings) -> Training:
    """PyTorch's own training of the same start."""
    network = build_network(cfg)
    network.load_state_dict(to_torch(Params(start.arg, start.aux), cfg, use_test_weights=False))
    if settings.spoil:
        settings.spoil(network)
    return training_for(network.train(), cfg, updates_per_epoch=steps, seed=settings.seed)


def run_trajectory(
    config: str | Path | Config,
    settings: Settings,
    *,
    steps: int,
    step: Step = lambda text: None,
    loss_tolerance: float = LOSS_TOLERANCE,
    curves: bool = False,
    calibrated: bool = False,
) -> Result:
    """Compares `steps` updates, and the weights after the last one.

    Args:
        settings: seed is read; spoil is applied to PyTorch's networks.
        loss_tolerance: relative, of every loss at every update.
        curves: follow the training that selects for itself to the end, and leave in facts["curves"] the losses of every
            update: name -> {"mxnet", "replayed", "selections", "alone"} -> list.
        calibrated: start from calibrated weights, whose offsets are of a pixel or two, instead of the original's initial ones.
    Raises: ModuleNotFoundError where MXNet is not installed.
    """
    began = time.monotonic()
    cfg = load_config(config)
    seed, task = settings.seed, task_of(cfg)
    start = starting_point(cfg, seed, calibrated=calibrated)
    replayed, free = (torch_training(cfg, start, steps, settings) for _ in range(2))
    selecting = torch_training(cfg, start, steps, settings) if curves else None
    table = Table()
    alone = FreeRunning(free, start.selecting, task, to_the_end=curves)
    drawn = {name: {"mxnet": [], "replayed": [], "selections": [], "alone": []} for name in task.losses}
    for update in mxnet_updates(cfg, start, steps, seed):
        step(f"update {update.number} of {steps}")
        losses, report = replayed_step(replayed, start.deciding, update, seed, task)
        table.add(
            *(loss_row(update.number, name, update.losses[name], losses[name], loss_tolerance) for name in task.losses)
        )
        table.add(decisions_row(update.number, report))
        alone.follow(update, Draws(seed, update.number))
        selected = replayed_step(selecting, start.selecting, update, seed, task)[0] if selecting else {}
        for name, lines in drawn.items():
            values = {"mxnet": update.losses, "replayed": losses, "selections": selected, "alone": alone.losses}
            for line, each in values.items():
                lines[line].append(each.get(name))
    table.add(*weight_rows(replayed.network, update.weights(), cfg), *alone.rows(steps))
    worst = max((row.strain for row in table.judged if row.quantity in task.losses), default=0.0) * loss_tolerance
    facts = {
        "config": str(config) if not isinstance(config, Config) else "a configuration",
        "size": "x".join(map(str, cfg.SCALES[0])),
        "grad": True,
        "seed": seed,
        "threads": torch.get_num_threads(),
        "seconds": time.monotonic() - began,
        "reference": "MXNet, run here",
        "versions": versions(),
    }
    if curves:
        facts |= {"curves": drawn, "first_difference": alone.difference or None}
    cards = [("updates", str(steps)), ("largest relative difference of a loss", number(worst))]
    cards.append(("updates before PyTorch alone selects otherwise", str(alone.agreeing)))
    return Result(table, facts, cards)


def replayed_step(
    training: Training, deciding: list[Segment], update: Update, seed: int, task: Task
) -> tuple[dict[str, float], ReplayReport]:
    """Losses of one update that takes MXNet's decisions of these segments, and how many it would have made otherwise."""
    decisions = decisions_of(deciding, update.entries.__getitem__, exact=False, offsets="cells")
    with replaying(training.network, decisions) as report:
        done = training.step(update.batch, Draws(seed, update.number))
    return task.metrics(done.outputs.arrays(), update.batch), report


def weight_rows(network: nn.Module, theirs: tuple[Arrays, Arrays], cfg: Config) -> Iterator[Row]:
    """The weights and statistics after the last update: all as one vector, judged; the array that is farthest off, reported."""
    expected = to_torch(Params(*theirs), cfg, use_test_weights=False)
    state = network.state_dict()
    apart = {name: torch.linalg.vector_norm((state[name] - value).double()).item() for name, value in expected.items()}
    norms = {name: torch.linalg.vector_norm(value.double()).item() for name, value in expected.items()}
    whole = math.hypot(*apart.values()) / math.hypot(*norms.values())
    yield Row(
        CHECK, "after the last update", "weights", "||difference|| / ||weights||, decisions replayed", 0.0, whole,
        WEIGHT_TOLERANCE, HOLDS if whole <= WEIGHT_TOLERANCE else RED, strain=whole / WEIGHT_TOLERANCE,
    )  # fmt: skip
    shares = {name: apart[name] / norm for name, norm in norms.items() if norm}
    farthest = max(shares, key=shares.__getitem__)
    yield reported_row(CHECK, "after the last update", "weights", f"the same of {farthest}", 0.0, shares[farthest])


def loss_row(update: int, name: str, expected: float, got: float, relative_tolerance: float) -> Row:
    tolerance = relative_tolerance * abs(expected)
    error = abs(got - expected)
    holds = error <= tolerance
    strain = error / tolerance if tolerance else 0.0 if holds else float("inf")
    return Row(
        CHECK, f"update {update}", name, "same loss, decisions replayed", expected, got, tolerance,
        HOLDS if holds else RED, strain=strain, depth=update,
    )  # fmt: skip


def decisions_row(update: int, report: ReplayReport) -> Row:
    differing, total = (sum(count[place] for count in report.rows()) for place in (1, 2))
    claim = f"of {total} replayed decisions, PyTorch alone would differ in"
    allowed = int(DECISIONS_PARTED * total)
    return counted_row(CHECK, f"update {update}", "decisions", claim, differing, allowed, depth=update)


class FreeRunning:
    """PyTorch's training that selects for itself, followed until it selects otherwise than MXNet's, or to the end."""

    def __init__(self, training: Training, selecting: list[Segment], task: Task, *, to_the_end: bool):
        self.training, self.selecting, self.task, self.to_the_end = training, selecting, task, to_the_end
        self.agreeing, self.difference, self.largest = 0, "", 0.0
        self.losses: dict[str, float] = {}

    def follow(self, update: Update, draws: Draws) -> None:
        """One update; after one that selected otherwise only when it goes to the end, for its losses."""
        if self.difference:
            if self.to_the_end:
                self.losses = self.task.metrics(self.training.step(update.batch, draws).outputs.arrays(), update.batch)
            return
        own: dict[str, list[np.ndarray]] = {}
        handles = []
        for segment in self.selecting:

            def watch(module, args, output, segment=segment) -> None:
                parts = (output,) if isinstance(output, torch.Tensor) else output
                own[segment.module] = [part.detach().numpy().copy() for part in parts]

            handles.append(self.training.network.get_submodule(segment.module).register_forward_hook(watch))
        try:
            done = self.training.step(update.batch, draws)
        finally:
            for handle in handles:
                handle.remove()
        losses = self.losses = self.task.metrics(done.outputs.arrays(), update.batch)
        for segment in self.selecting:
            count = self.differing(segment, own[segment.module], update.entries)
            if count:
                self.difference = f"{count} of {segment.name} at update {update.number}"
                return
        self.largest = max(self.largest, *(relative(losses[name], update.losses[name]) for name in self.task.losses))
        self.agreeing = update.number

    def differing(self, segment: Segment, own: list[np.ndarray], entries: Arrays) -> int:
        """RoIs that only one framework keeps, or labels that differ."""
        theirs = [entries[key] for key in segment.outputs]
        if segment.module == "rpn.proposal":
            return match_boxes(theirs[0][:, 1:], own[0][:, 1:]).unmatched
        index = 1 if segment.module == "proposal_target" else 0
        same = len(theirs[index]) == len(own[index])
        return int((theirs[index].reshape(-1) != own[index].reshape(-1)).sum()) if same else len(own[index])

    def rows(self, steps: int) -> Iterator[Row]:
        claim = f"of {steps} updates alone, until it selects otherwise" + (
            f" ({self.difference})" if self.difference else ""
        )
        yield reported_row(CHECK, "PyTorch alone", "selections", claim, steps, self.agreeing)
        yield reported_row(
            CHECK, "PyTorch alone", "losses", "largest relative difference until then", 0.0, self.largest
        )


def relative(got: float, expected: float) -> float:
    return abs(got - expected) / abs(expected) if expected else abs(got)
