"""Maps inside of a network on one image, by the names of MXNet's nodes, in either framework."""

from collections.abc import Callable, Sequence

import numpy as np

from dcn_suite.checkpoints import Checkpoint
from dcn_tasks.config import Config

Maps = Callable[[np.ndarray], dict[str, np.ndarray]]  # data [1, 3, h, w] -> [C, H, W] by node


def feature_maps(cfg: Config, checkpoint: Checkpoint, framework: str, nodes: Sequence[str]) -> Maps:
    """The network of a configuration with a checkpoint's weights, cut off behind some nodes of its backbone.

    Args: framework: "torch" (on the GPU that is there, else the CPU) or "mxnet". nodes: of the test graph, in the backbone.
    Raises: ModuleNotFoundError without the framework; KeyError or InputError for a node that it does not have.
    """
    return {"torch": in_torch, "mxnet": in_mxnet}[framework](cfg, checkpoint, nodes)


def in_torch(cfg: Config, checkpoint: Checkpoint, nodes: Sequence[str]) -> Maps:
    import torch

    from dcn_suite.devices import torch_device
    from torch_port.models import build_network
    from weights_convert import node_map

    device = torch_device(None)
    network = build_network(cfg)
    network.load_state_dict(checkpoint.state)
    network = network.to(device).eval()
    modules, seen = node_map(cfg, False), {}
    for node in nodes:

        def keep(module: torch.nn.Module, args: tuple, output: torch.Tensor, node: str = node) -> None:
            seen[node] = output[0].cpu().numpy()

        network.get_submodule(modules[node]).register_forward_hook(keep)

    def maps(data: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            network.backbone(torch.as_tensor(data, device=device))
        return dict(seen)

    return maps


def in_mxnet(cfg: Config, checkpoint: Checkpoint, nodes: Sequence[str]) -> Maps:
    import mxnet_ref
    from mxnet_ref.executor import BoundGraph, first_outputs

    graph = BoundGraph(first_outputs(mxnet_ref.build_symbol(cfg, False), nodes), *checkpoint.mxnet_arrays(cfg))

    def maps(data: np.ndarray) -> dict[str, np.ndarray]:
        return {node: value[0] for node, value in zip(nodes, graph.outputs({"data": data}), strict=True)}

    return maps
