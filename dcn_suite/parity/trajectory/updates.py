"""Where both trainings start, and MXNet's updates one by one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from dcn_suite.parity.chained import KINDS
from dcn_suite.parity.port import DTYPES
from dcn_suite.parity.run import Settings
from dcn_suite.parity.segments import Segment, segments_of
from dcn_tasks.config import Config
from dcn_tasks.recipe import schedule_of
from dcn_tasks.streams import Draws
from dcn_tasks.task import task_of
from dcn_tasks.training_loop import Image
from torch_port.models import build_network
from torch_port.training import Training, training_for
from weights_convert import Params, node_map, tensor_paths, to_torch

Arrays = dict[str, np.ndarray]


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


def mxnet_updates(cfg: Config, start: Start, steps: int, seed: int, dtype: str) -> Iterator[Update]:
    """MXNet's own trainer; its decisions come from a forward pass of the same graph with the same weights."""
    import mxnet_ref
    from mxnet_ref.operators import set_draws
    from mxnet_ref.trainer import Trainer
    from mxnet_ref.witness import Witness

    symbol = mxnet_ref.build_symbol(cfg, True, dtype=dtype)
    keys = {key for segment in start.deciding for key in (*segment.inputs, *segment.outputs)}
    trainer, task = None, task_of(cfg)
    for number_, batch in zip(range(1, steps + 1), mxnet_ref.scene_batches(cfg, seed=seed), strict=False):
        trainer = trainer or Trainer(cfg, batch, start.arg, start.aux, schedule_of(cfg, steps), dtype=dtype)
        draws = Draws(seed, number_)
        set_draws(draws)
        entries: Arrays = {}

        def keep(key: str, array: np.ndarray, entries: Arrays = entries) -> None:
            if key in keys:
                entries[key] = array

        Witness(symbol, *trainer.parameters(), dtype).chain(batch, is_train=True, grad=False, sink=keep)
        outputs = trainer.update([Image(batch, draws)]).outputs[0]
        metrics = task.metrics(outputs, batch)
        yield Update(number_, batch, entries, {name: metrics[name] for name in task.losses}, trainer.parameters)


def torch_training(cfg: Config, start: Start, steps: int, settings: Settings, dtype: str) -> Training:
    """PyTorch's own training of the same start."""
    network = build_network(cfg).to(DTYPES[dtype])
    network.load_state_dict(to_torch(Params(start.arg, start.aux), cfg, use_test_weights=False))
    if settings.spoil:
        settings.spoil(network)
    return training_for(network.train(), cfg, updates_per_epoch=steps, seed=settings.seed)
