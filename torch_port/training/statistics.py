"""Moving statistics of an update with several images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from torch_port.layers import BatchNorm
from torch_port.training.parallel import Parallel


def moving_statistics(network: nn.Module) -> list[Tensor]:
    """Mean and variance of every batch normalisation that moves them in training."""
    moving = [m for m in network.modules() if isinstance(m, BatchNorm) and not m.use_global_stats]
    return [buffer for module in moving for buffer in (module.running_mean, module.running_var)]


@contextmanager
def averaged_statistics(network: nn.Module, parallel: Parallel) -> Iterator[Callable[[], None]]:
    """Every image of an update starts from the same statistics; at the end they are the mean over images and processes.

    Yields: call it before the forward pass of each image. On an error the statistics are those of the start.
    """
    buffers = moving_statistics(network)
    start = [buffer.clone() for buffer in buffers]
    seen: list[list[Tensor]] = []
    first = True

    def next_image() -> None:
        nonlocal first
        if not first:
            seen.append([buffer.clone() for buffer in buffers])
            put(buffers, start)
        first = False

    try:
        yield next_image
    except BaseException:
        put(buffers, start)
        raise
    seen.append([buffer.clone() for buffer in buffers])
    if len(seen) > 1:
        put(buffers, [torch.stack(values).mean(dim=0) for values in zip(*seen, strict=True)])
    parallel.mean(buffers)


def put(buffers: list[Tensor], values: list[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
