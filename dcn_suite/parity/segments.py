"""Which nodes of the MXNet graph are compared with which module of the PyTorch network.

Most segments are one node. The box losses are four nodes there (subtract, smooth L1, weight, MakeLoss) and one module
here. Reshapes move no number and have no counterpart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SHAPE_ONLY = {"Reshape", "BlockGrad", "Flatten", "_copy", "identity"}
LOSS_CHAIN = {"elemwise_sub", "broadcast_sub", "_sub", "smooth_l1", "elemwise_mul", "broadcast_mul", "_mul"}
LOSSES = {"MakeLoss", "SoftmaxOutput"}  # they put their own gradient in the place of the one from above
SELECTORS = {  # Custom operators without a gradient
    "proposal",
    "pyramid_proposal",
    "proposal_target",
    "BoxAnnotatorOHEM",
    "anchor_candidates",
}
# which inputs of an operator, counted without parameters, have a gradient
DIFFERENTIABLE = {
    "_contrib_DeformablePSROIPooling": (0, 2),
    "_contrib_PSROIPooling": (0,),
    "ROIPooling": (0,),
    "SoftmaxOutput": (0,),
    "Crop": (0,),
    "fpn_roi_pooling": (0, 1, 2, 3),
    **dict.fromkeys(SELECTORS, ()),
}
# MXNet computes its gradients on GPUs only: those of its side are a NumPy loop (mxnet_ref.operators.modulated_convolution)
WITHOUT_CPU_BACKWARD = "_contrib_ModulatedDeformableConvolution"
TRAINED = ("weight", "bias", "gamma", "beta")


@dataclass(frozen=True)
class Node:
    """One operator of MXNet's graph, as recorded. inputs, outputs: entry keys (mxnet_ref.witness)."""

    name: str
    op: str
    attrs: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Segment:
    """Nodes that are one module here.

    name: of the last node. nodes: names. op: of the last node. inputs: entry keys from outside, parameters left out.
    parameters: MXNet's names; tensors: their paths in the network. outputs: entry keys. module: path in the network.
    depth: place in the graph.
    """

    name: str
    nodes: tuple[str, ...]
    op: str
    attrs: Mapping[str, str]
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    outputs: tuple[str, ...]
    module: str
    depth: int
    tensors: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The operator's name, or the Custom operator's own."""
        return self.attrs["op_type"] if self.op == "Custom" else self.op

    @property
    def selects(self) -> bool:
        """Whether it chooses RoIs or labels: such decisions are replayed, not compared."""
        return self.kind in SELECTORS

    @property
    def differentiable(self) -> tuple[str, ...]:
        """Inputs whose gradient is compared."""
        if self.op == "MakeLoss":
            return self.inputs[:1]
        places = DIFFERENTIABLE.get(self.kind, range(len(self.inputs)))
        return tuple(self.inputs[place] for place in places if place < len(self.inputs))

    @property
    def is_loss(self) -> bool:
        return self.op in LOSSES


def segments_of(
    nodes: Iterable[Node], modules: Mapping[str, str], tensors: Mapping[str, str]
) -> tuple[list[Segment], list[Node]]:
    """All segments in the graph's order, and the nodes that should have a counterpart and have none.

    Args:
        modules: module path by node name (weights_convert.node_map).
        tensors: path in the network by name of a parameter or auxiliary state (weights_convert.tensor_paths).
    """
    segments, orphans, chain = [], [], []
    for depth, node in enumerate(nodes):
        if node.op in SHAPE_ONLY:
            continue
        if node.op in LOSS_CHAIN and node.name not in modules:
            chain.append(node)
            continue
        if node.name not in modules:
            orphans.append(node)
            continue
        members = [*chain, node] if node.op == "MakeLoss" else [node]
        if node.op == "MakeLoss":
            chain = []
        inside = {key for member in members for key in member.outputs}
        outside = dict.fromkeys(key for member in members for key in member.inputs if key not in inside)
        owned = tuple(key for key in outside if key in tensors and key.rpartition("_")[2] in TRAINED)
        segments.append(
            Segment(
                node.name,
                tuple(member.name for member in members),
                node.op,
                node.attrs,
                tuple(key for key in outside if key not in tensors),
                owned,
                node.outputs,
                modules[node.name],
                depth,
                tuple(tensors[key] for key in owned),
            )
        )
    return segments, orphans + chain


def only_in_test(parameters: Iterable[str], train: Iterable[Segment], test: Iterable[Segment]) -> list[Segment]:
    """Segments of the test graph that the training graph does not have, or has with other weights (`_test` copies)."""
    modules = {segment.module for segment in train}
    copied = {name.removesuffix("_test") for name in parameters if name.endswith("_test")}
    return [each for each in test if each.module not in modules or copied & set(each.parameters)]
