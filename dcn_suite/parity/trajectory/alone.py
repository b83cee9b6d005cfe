"""PyTorch trains and decides for itself: followed in float32, judged in float64."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.rows import Row, counted_row, reported_row
from dcn_suite.parity.run import Settings
from dcn_suite.parity.segments import Segment
from dcn_suite.parity.trajectory.rows import CHECK, FLOAT64, FLOAT64_TOLERANCE, loss_row, relative, weight_rows
from dcn_suite.parity.trajectory.updates import Arrays, Start, Update, mxnet_updates, torch_training
from dcn_tasks.config import Config
from dcn_tasks.streams import Draws
from dcn_tasks.task import Task, task_of
from torch_port.training import Training


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
        """What is reported of float32, in which a rounding may decide."""
        claim = f"of {steps} updates alone, until it selects otherwise" + (
            f" ({self.difference})" if self.difference else ""
        )
        yield reported_row(CHECK, "PyTorch alone", "selections", claim, steps, self.agreeing)
        yield reported_row(
            CHECK, "PyTorch alone", "losses", "largest relative difference until then", 0.0, self.largest
        )


def float64_rows(
    cfg: Config, start: Start, steps: int, settings: Settings, step: Callable[[str], None]
) -> Iterator[Row]:
    """Every update in float64 in both frameworks, nothing replayed: same selections, losses and last weights."""
    training = torch_training(cfg, start, steps, settings, "float64")
    alone = FreeRunning(training, start.selecting, task_of(cfg), to_the_end=True)
    for update in mxnet_updates(cfg, start, steps, settings.seed, "float64"):
        step(f"update {update.number} of {steps}, float64")
        alone.follow(update, Draws(settings.seed, update.number))
        for name, expected in update.losses.items():
            got = alone.losses[name]
            yield loss_row(update.number, f"{name} float64", expected, got, FLOAT64_TOLERANCE, FLOAT64)
    claim = "updates from the first on that selects otherwise" + (f" ({alone.difference})" if alone.difference else "")
    yield counted_row(CHECK, FLOAT64, "selections", claim, steps - alone.agreeing)
    yield from weight_rows(training.network, update.weights(), cfg, FLOAT64_TOLERANCE, FLOAT64)
