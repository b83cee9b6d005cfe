"""Several processes that share every update: DistributedDataParallel with the original's sum of gradients."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dcn_tasks.streams import Draws
from torch_port.models import Network, Outputs


class TrainingForward(nn.Module):
    """A network whose forward is its forward_train: DistributedDataParallel calls forward."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, batch: Mapping, draws: Draws) -> Outputs:
        return self.network.forward_train(batch, draws)


@dataclass
class Parallel:
    """How this process takes part.

    size: processes. wrapped: the network as DistributedDataParallel has it; None in a process alone.
    """

    size: int = 1
    wrapped: DistributedDataParallel | None = field(default=None, repr=False)

    def forward_train(self, network: Network, batch: Mapping, draws: Draws) -> Outputs:
        return network.forward_train(batch, draws) if self.wrapped is None else self.wrapped(batch, draws)

    def gradients_stay_here(self, wanted: bool) -> AbstractContextManager:
        """While open, backward adds to this process's gradients alone: all but the last image of an update."""
        return self.wrapped.no_sync() if wanted and self.wrapped is not None else nullcontext()

    def mean(self, tensors: list[Tensor]) -> None:
        """Every tensor becomes its mean over the processes, in place."""
        if self.wrapped is None or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def summed(state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Communication hook: the sum over the processes, where DistributedDataParallel takes the mean."""
    return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda future: future.value()[0])


def parallel_for(network: Network) -> Parallel:
    """The part of this process in torch.distributed's group, whose backend is set up already; alone without a group.

    The network has to hold the same weights in every process and has to know which of them train.
    """
    if not dist.is_initialized():
        return Parallel()
    device = next(network.parameters()).device
    wrapped = DistributedDataParallel(
        TrainingForward(network),
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=False,
    )
    wrapped.register_comm_hook(None, summed)
    return Parallel(dist.get_world_size(), wrapped)
