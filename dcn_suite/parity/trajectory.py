"""The same training steps in both frameworks, from the same weights, on the same generated scenes.

PyTorch trains twice: once with MXNet's selections (RoIs, samples, hard RoIs) replayed, whose losses have to agree at every
step; once deciding alone, reported up to the first step at which it selects otherwise.

Training amplifies rounding: at the original's learning rates twenty updates of a narrow network stay within the tolerance;
at ten times those rates the difference of a rounding reaches it after ten or so, in correct code. A mistake shows in
the first two or three.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from dcn_suite.parity.decisions import decisions_of
from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.report import Result
from dcn_suite.parity.rows import HOLDS, RED, Row, Table, number, reported_row
from dcn_suite.parity.run import Settings, params_of, versions
from dcn_suite.parity.segments import Segment, segments_of
from dcn_tasks.config import Config, load_config
from dcn_tasks.streams import Draws
from dcn_tasks.training_metrics import all_metrics
from torch_port.models import build_network, replaying
from torch_port.training import Training, training_for
from weights_convert import node_map, to_torch

CHECK = "trajectory"
LOSSES = ("RPNLogLoss", "RPNL1Loss", "RCNNLogLoss", "RCNNL1Loss")
LOSS_TOLERANCE = 1e-4  # relative: float32 rounding of a forward pass, grown over twenty updates
SMALL_LOSS = 1e-3  # of the sum: a smaller loss is the square of a residue of nearly equal numbers, and counts as that
Arrays = dict[str, np.ndarray]
Step = Callable[[str], None]


@dataclass
class Update:
    """One update in MXNet: batch, selections by entry key, losses."""

    number: int
    batch: Arrays
    selections: Arrays
    losses: dict[str, float]


@dataclass
class Start:
    """Where both frameworks start, and the graph's segments that select."""

    arg: Arrays
    aux: Arrays
    selecting: list[Segment] = field(default_factory=list)


def starting_point(cfg: Config, seed: int) -> Start:
    """The original's initial weights; calibrated ones where frozen statistics have to fit the weights."""
    import mxnet_ref
    from dcn_suite.parity.photo import photo_of
    from mxnet_ref.witness import Witness

    if cfg.network.USE_GLOBAL_STATS:
        arg, aux = mxnet_ref.calibrated_init(cfg, photo_of(*cfg.SCALES[0]), seed)
    else:
        arg, aux = mxnet_ref.init_params(cfg, seed=seed, pretrained=False)
        leave_the_kinks(arg, seed)
    nodes = Witness(mxnet_ref.build_symbol(cfg, True), arg, aux, "float32").nodes.values()
    segments, _ = segments_of(nodes, node_map(cfg, True), [*arg, *aux])
    return Start(arg, aux, [segment for segment in segments if segment.op == "Custom"])


def mxnet_updates(cfg: Config, start: Start, steps: int, seed: int) -> Iterator[Update]:
    """MXNet's own trainer; its selections come from a forward pass of the same graph with the same weights."""
    import mxnet_ref
    from mxnet_ref.operators import set_draws
    from mxnet_ref.training import Trainer, schedule_of
    from mxnet_ref.witness import Witness

    symbol = mxnet_ref.build_symbol(cfg, True)
    keys = {key for segment in start.selecting for key in segment.outputs}
    trainer = None
    for number_, batch in zip(range(1, steps + 1), mxnet_ref.scene_batches(cfg, seed=seed), strict=False):
        trainer = trainer or Trainer(cfg, batch, start.arg, start.aux, schedule_of(cfg, steps))
        draws = Draws(seed, number_)
        set_draws(draws)
        entries: Arrays = {}
        Witness(symbol, *trainer.parameters(), "float32").chain(
            batch, is_train=True, grad=False, sink=entries.__setitem__
        )
        outputs = trainer.update(batch, draws)
        metrics = all_metrics(outputs, batch["label"])
        yield Update(number_, batch, {key: entries[key] for key in keys}, {name: metrics[name] for name in LOSSES})


def torch_training(cfg: Config, start: Start, steps: int, settings: Settings) -> Training:
    """PyTorch's own training of the same start."""
    network = build_network(cfg)
    arrays = {f"arg:{name}": value for name, value in start.arg.items()}
    arrays |= {f"aux:{name}": value for name, value in start.aux.items()}
    network.load_state_dict(to_torch(params_of(arrays), cfg, use_test_weights=False))
    if settings.spoil:
        settings.spoil(network)
    return training_for(network.train(), cfg, updates_per_epoch=steps, seed=settings.seed)


def leave_the_kinks(arg: dict[str, np.ndarray], seed: int) -> None:
    """Offsets start between grid points instead of on them, in place.

    Zero offsets stand on the edges of bilinear cells, and at the border on the jump of MXNet's rule, where one rounding
    decides the cell and the losses of two float32 runs part; between them, a rounding stays one.
    """
    for name, value in arg.items():
        if name.endswith("_offset_bias"):
            value[:] = Draws(seed).generator(f"trajectory/{name}").uniform(0.2, 0.8, value.shape)


def run_trajectory(
    config: str | Path | Config, settings: Settings, *, steps: int, step: Step = lambda text: None
) -> Result:
    """Compares `steps` updates. settings: seed is read; spoil is applied to PyTorch's networks.

    Raises: ModuleNotFoundError where MXNet is not installed.
    """
    began = time.monotonic()
    cfg = load_config(config)
    seed = settings.seed
    start = starting_point(cfg, seed)
    replayed, free = (torch_training(cfg, start, steps, settings) for _ in range(2))
    table = Table()
    alone = FreeRunning(free, start.selecting)
    for update in mxnet_updates(cfg, start, steps, seed):
        step(f"update {update.number} of {steps}")
        decisions = decisions_of(start.selecting, update.selections.__getitem__, exact=False)
        with replaying(replayed.network, decisions):
            done = replayed.step(update.batch, Draws(seed, update.number))
        losses = all_metrics(done.outputs.arrays(), update.batch["label"])
        whole = sum(update.losses.values())
        table.add(*(loss_row(update.number, name, update.losses[name], losses[name], whole) for name in LOSSES))
        alone.follow(update, Draws(seed, update.number))
    table.add(*alone.rows(steps))
    worst = max((row.strain for row in table.judged), default=0.0) * LOSS_TOLERANCE
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
    cards = [("updates", str(steps)), ("largest relative difference of a loss", number(worst))]
    cards.append(("updates before PyTorch alone selects otherwise", str(alone.agreeing)))
    return Result(table, facts, cards)


def loss_row(update: int, name: str, expected: float, got: float, whole: float) -> Row:
    tolerance = LOSS_TOLERANCE * max(abs(expected), SMALL_LOSS * abs(whole))
    error = abs(got - expected)
    holds = error <= tolerance
    strain = error / tolerance if tolerance else 0.0 if holds else float("inf")
    return Row(
        CHECK, f"update {update}", name, "same loss, selections replayed", expected, got, tolerance,
        HOLDS if holds else RED, strain=strain, depth=update,
    )  # fmt: skip


class FreeRunning:
    """PyTorch's training that selects for itself, followed until it selects otherwise than MXNet's."""

    def __init__(self, training: Training, selecting: list[Segment]):
        self.training, self.selecting = training, selecting
        self.agreeing, self.difference, self.largest = 0, "", 0.0

    def follow(self, update: Update, draws: Draws) -> None:
        """One update, unless an earlier one already selected otherwise."""
        if self.difference:
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
        for segment in self.selecting:
            count = self.differing(segment, own[segment.module], update.selections)
            if count:
                self.difference = f"{count} of {segment.name} at update {update.number}"
                return
        losses = all_metrics(done.outputs.arrays(), update.batch["label"])
        self.largest = max(self.largest, *(relative(losses[name], update.losses[name]) for name in LOSSES))
        self.agreeing = update.number

    def differing(self, segment: Segment, own: list[np.ndarray], selections: Arrays) -> int:
        """RoIs that only one framework keeps, or labels that differ."""
        theirs = [selections[key] for key in segment.outputs]
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
