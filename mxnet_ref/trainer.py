"""One network in training: MXNet's Module with the original's optimiser, warm-up and schedule, one image per update."""

import logging
from collections.abc import Iterable, Mapping, Sequence

import mxnet as mx
import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.recipe import gradient_scale
from dcn_tasks.schedule import WarmupMultiFactor
from dcn_tasks.streams import Draws
from dcn_tasks.task import Task, task_of
from dcn_tasks.training_loop import Image, TrainingDiverged, Update
from mxnet_ref.build import build_symbol
from mxnet_ref.diagnose import first_nonfinite
from mxnet_ref.executor import Arrays
from mxnet_ref.gradient_sums import GradientSums, copied, put_back
from mxnet_ref.init import fixed_parameters
from mxnet_ref.notices import without_binding_notices
from mxnet_ref.operators import raise_failure, set_draws, with_cpu_backward
from mxnet_ref.processes import ALONE, Processes

Batch = Mapping[str, np.ndarray]
MAX_BOUND = 64  # graphs kept bound: sizes of images times numbers of objects


class NotFinite(ValueError):
    """An output of the training graph holds a NaN or an infinity."""


class Schedule(mx.lr_scheduler.LRScheduler):
    """The learning rate of dcn_tasks.schedule for MXNet's optimiser, which numbers updates from 1."""

    def __init__(self, schedule: WarmupMultiFactor):
        super().__init__(base_lr=schedule(1))
        self.schedule = schedule

    def __call__(self, num_update: int) -> float:
        return self.schedule(num_update)


class Trainer:
    """The training graph with its parameters and optimiser; each set of input shapes is bound once and then kept.

    Args:
        first: a batch, for the first binding. arg, aux: parameters to start from, normalised box weights.
        momentum: to go on with, by parameter; None: zeros. updates: done before.
        images_per_update: whose gradients one update adds up over all processes, for TRAIN.GRADIENT_RULE.
        processes: that share every update.
        dtype: "float32" or "float64", of parameters, batches and the optimiser.
    """

    def __init__(
        self,
        cfg: Config,
        first: Batch,
        arg: Mapping[str, np.ndarray],
        aux: Mapping[str, np.ndarray],
        schedule: WarmupMultiFactor,
        momentum: Mapping[str, np.ndarray] | None = None,
        *,
        updates: int = 0,
        images_per_update: int = 1,
        processes: Processes = ALONE,
        dtype: str = "float32",
    ):
        self.sums = GradientSums(cfg.default.kvstore, processes)
        self.symbol = symbol = with_cpu_backward(build_symbol(cfg, True, dtype=dtype))
        self.schedule, self.updates, self.dtype = schedule, updates, dtype
        self.task = task = task_of(cfg)
        parameters = [name for name in symbol.list_arguments() if name not in task.batch_names]
        check_parameters(parameters, symbol.list_auxiliary_states(), arg, aux, momentum or {})
        self.module = mx.mod.BucketingModule(
            lambda shapes: (symbol, task.data_names, task.label_names), default_bucket_key=shapes_of(first, task),
            logger=logging.getLogger("mxnet_ref"), context=mx.cpu(), fixed_param_names=fixed_parameters(parameters, cfg),
        )  # fmt: skip
        batch = data_batch(first, task, dtype)
        with without_binding_notices():
            self.module.bind(batch.provide_data, batch.provide_label)
        self.module.init_params(
            arg_params={name: mx.nd.array(arg[name], dtype=dtype) for name in parameters},
            aux_params={name: mx.nd.array(aux[name], dtype=dtype) for name in symbol.list_auxiliary_states()},
        )
        settings = {"momentum": cfg.TRAIN.momentum, "wd": cfg.TRAIN.wd, "clip_gradient": None}
        settings |= {"rescale_grad": gradient_scale(cfg, images_per_update), "begin_num_update": updates}
        settings |= {"learning_rate": schedule(updates + 1), "lr_scheduler": Schedule(schedule)}
        self.module.init_optimizer(kvstore=None, optimizer="sgd", optimizer_params=settings)
        self.first, self.used = shapes_of(first, task), []
        self.updater = self.module._curr_module._updater
        self.index = {name: index for index, name in self.updater.optimizer.idx2name.items()}
        for name, value in (momentum or {}).items():
            self.updater.states[self.index[name]] = mx.nd.array(value, dtype=dtype)
            self.updater.states_synced[self.index[name]] = True

    def update(self, images: Iterable[Image]) -> Update:
        """Forward and backward for every image, one step of the optimiser on the sum of their gradients.

        Every image starts from the same moving statistics, whose means over the images are kept, as the original keeps
        the mean over its devices.
        Raises: TrainingDiverged; the parameters are then those before this update, unless it is they that overflow.
        """
        images = list(images)
        alone = len(images) == self.sums.processes.size == 1
        outputs = [self.learn_from(images[0])] if alone else self.learn_from_all(images)
        self.module.update()
        self.updates += 1
        self.refuse_overflow()
        return Update(self.updates, self.schedule(self.updates), outputs)

    def learn_from_all(self, images: list[Image]) -> list[dict[str, np.ndarray]]:
        """As learn_from, for several; leaves the sums of their gradients and the means of the statistics in the graph."""
        outputs, gradients, states = [], [], []
        mx.nd.waitall()
        start = copied(self.states)
        for image in images:
            put_back(self.states, start)  # also where the last image diverges: its own statistics move in backward
            outputs.append(self.learn_from(image))
            mx.nd.waitall()  # BatchNorm's backward moves the statistics, and MXNet's engine doesn't know that
            gradients.append(copied(self.gradients))
            states.append(copied(self.states))
        self.sums.put(gradients, self.gradients)
        self.sums.put_mean(states, self.states)
        return outputs

    def refuse_overflow(self) -> None:
        """Raises: TrainingDiverged when the squares of a parameter do not add up to a finite number.

        The next forward pass would turn it into offsets that are no numbers, on which MXNet 1.9.1's
        DeformablePSROIPooling ends the process by a segmentation fault instead of a loss that is not finite.
        """
        (executor,) = self.module._curr_module._exec_group.execs
        names = list(self.gradients)
        sums = mx.nd.multi_sum_sq(*(executor.arg_dict[name] for name in names), num_arrays=len(names)).asnumpy()
        if bad := [name for name, value in zip(names, sums, strict=True) if not np.isfinite(value)]:
            raise TrainingDiverged(
                f"update {self.updates}: expected finite weights after it, got overflow in {bad[0]} and {len(bad) - 1} others: "
                "start again from the last checkpoint (--weights, another --output) with a lower TRAIN.lr or a longer warm-up"
            )

    @property
    def gradients(self) -> dict[str, mx.nd.NDArray]:
        """Those of the graph that is bound now, by trained parameter."""
        (executor,) = self.module._curr_module._exec_group.execs
        return {name: executor.grad_dict[name] for name in self.index if executor.grad_dict.get(name) is not None}

    @property
    def states(self) -> dict[str, mx.nd.NDArray]:
        """Moving statistics of the graph that is bound now."""
        (executor,) = self.module._curr_module._exec_group.execs
        return executor.aux_dict

    def learn_from(self, image: Image) -> dict[str, np.ndarray]:
        """Forward and backward. Returns: the graph's outputs by the task's output_names. Raises: TrainingDiverged."""
        try:
            outputs = self.forward(image.batch, image.draws)
        except ValueError as error:
            blame = first_nonfinite(self.symbol, *self.parameters(), image.batch, image.draws)
            if blame is None and not isinstance(error, NotFinite):
                raise
            raise TrainingDiverged(
                f"update {self.updates + 1}: {error}; {blame or 'every layer is finite'}: lower TRAIN.lr or lengthen the warm-up"
            ) from error
        self.module.backward()
        return outputs

    def forward(self, batch: Batch, draws: Draws) -> dict[str, np.ndarray]:
        """The graph's outputs by the task's output_names. Raises: ValueError when an operator refuses its input, or one is not finite."""
        set_draws(draws)
        given = data_batch(batch, self.task, self.dtype)
        self.bind(given)
        self.module.forward(given, is_train=True)
        names = self.task.output_names
        outputs = {name: output.asnumpy() for name, output in zip(names, self.module.get_outputs(), strict=True)}
        raise_failure()
        if bad := [name for name, value in outputs.items() if not np.isfinite(value).all()]:
            raise NotFinite(f"output {bad[0]} is not finite")
        return outputs

    def bind(self, given: mx.io.DataBatch) -> None:
        """Have a binding for these shapes; beyond MAX_BOUND, the one that was not used for longest is dropped."""
        buckets, shapes = self.module._buckets, given.bucket_key
        if shapes not in buckets:
            with without_binding_notices():
                self.module.switch_bucket(shapes, given.provide_data, given.provide_label)
        if shapes == self.first:
            return  # all others share its memory
        self.used = [*(each for each in self.used if each != shapes), shapes]
        if len(self.used) > MAX_BOUND:
            mx.nd.waitall()
            del buckets[self.used.pop(0)]

    def parameters(self) -> tuple[Arrays, Arrays]:
        """(arg, aux) as they are now."""
        mx.nd.waitall()  # BatchNorm's backward moves the statistics, and MXNet's engine doesn't know that
        arg, aux = self.module.get_params()
        return {k: v.asnumpy() for k, v in arg.items()}, {k: v.asnumpy() for k, v in aux.items()}

    def momentum(self) -> Arrays:
        """The optimiser's buffers (they hold the learning rate, spec 1.11) by parameter; frozen parameters have none."""
        states = self.updater.states
        return {name: states[i].asnumpy() for name, i in self.index.items() if states.get(i) is not None}


def shapes_of(batch: Batch, task: Task) -> tuple[tuple[int, ...], ...]:
    return tuple(batch[name].shape for name in task.batch_names)


def data_batch(batch: Batch, task: Task, dtype: str) -> mx.io.DataBatch:
    """The arrays as MXNet takes them; the bucket is their shapes, since images and object counts differ."""

    def arrays(names: Sequence[str]) -> list[mx.nd.NDArray]:
        return [mx.nd.array(batch[name], dtype=dtype) for name in names]

    def described(names: Sequence[str]) -> list[mx.io.DataDesc]:
        return [mx.io.DataDesc(name, batch[name].shape, dtype=np.dtype(dtype)) for name in names]

    return mx.io.DataBatch(
        data=arrays(task.data_names),
        label=arrays(task.label_names),
        bucket_key=shapes_of(batch, task),
        provide_data=described(task.data_names),
        provide_label=described(task.label_names),
    )


def check_parameters(
    parameters: Sequence[str], states: Sequence[str], arg: Mapping, aux: Mapping, momentum: Mapping
) -> None:
    missing = [name for name in parameters if name not in arg] + [name for name in states if name not in aux]
    if missing:
        raise InputError(f"train: the network needs {', '.join(missing)}: not among the parameters given")
    if unknown := sorted(momentum.keys() - set(parameters)):
        raise InputError(f"train: expected momentum of the network's parameters, got it of {', '.join(unknown)}")
