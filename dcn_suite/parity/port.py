"""PyTorch as a witness: single modules on given inputs, and the whole network with every activation handed out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dcn_suite.parity.segments import Segment
from dcn_tasks.streams import Draws
from torch_port.models import ClassAwareRPN, DeepLab, TwoStage, replaying

DTYPES = {"float32": torch.float32, "float64": torch.float64}
Sink = Callable[[str, np.ndarray], None]
Arrays = dict[str, np.ndarray]


@dataclass
class Port:
    """The network in one precision, with what its modules need beside tensors.

    draws: the streams that MXNet's side used. onednn: let PyTorch hand convolutions to oneDNN where it wants to, as it
    does for users and as MXNet does: forward, both round alike. Off, where gradients are compared, they are ATen's own:
    oneDNN's gradient of a strided 1x1 convolution rounds up to five times as coarsely as MXNet's (measured,
    benchmarks/conv_rounding_cpu.py; it is not the port's to mend), and would drown what is looked for.
    """

    network: TwoStage | ClassAwareRPN | DeepLab
    dtype: str
    is_train: bool
    draws: Draws
    onednn: bool = False

    def __post_init__(self) -> None:
        self.network = self.network.to(DTYPES[self.dtype]).train(self.is_train)

    @property
    def limits(self):
        return self.network.train_limits if self.is_train else self.network.test_limits

    def tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(np.ascontiguousarray(array), dtype=DTYPES[self.dtype])

    def module(self, segment: Segment) -> nn.Module:
        return self.network.get_submodule(segment.module)

    def run(
        self, segment: Segment, inputs: Mapping[str, np.ndarray], head_gradients: Sequence[np.ndarray] | None
    ) -> tuple[list[np.ndarray], Arrays]:
        """One segment alone.

        Args:
            inputs: by entry key, in MXNet's shapes. head_gradients: one per output, or None for forward only.
        Returns: outputs, gradients by entry key and by MXNet's parameter name.
        """
        grad = head_gradients is not None and bool(segment.differentiable)
        tensors = {key: self.tensor(inputs[key]) for key in segment.inputs}
        wanted = {key: tensors[key].requires_grad_(grad) for key in segment.differentiable}
        module = self.module(segment)
        owned = {
            name: self.network.get_parameter(path)
            for name, path in zip(segment.parameters, segment.tensors, strict=True)
        }
        with onednn(self.onednn), torch.set_grad_enabled(grad):
            result = self.call(module, segment, list(tensors.values()))
            return [array_of(output) for output in outputs_of(result)], (
                self.gradients(segment, result, {**wanted, **owned}, head_gradients) if grad else {}
            )

    def gradients(self, segment: Segment, result, targets: dict[str, Tensor], head_gradients) -> Arrays:
        if segment.is_loss:
            found = torch.autograd.grad(result.scalar, list(targets.values()))
        else:
            outputs = outputs_of(result)
            heads = [self.head(head, output) for head, output in zip(head_gradients, outputs, strict=True)]
            found = torch.autograd.grad(outputs, list(targets.values()), heads)
        return {key: array_of(gradient) for key, gradient in zip(targets, found, strict=True)}

    def head(self, gradient: np.ndarray, output: Tensor) -> Tensor:
        """A head gradient in the module's shape."""
        if gradient.size != output.numel():
            raise ValueError(
                f"the output has one shape in MXNet, {gradient.shape}, another in PyTorch, {tuple(output.shape)}"
            )
        return self.tensor(gradient).reshape(output.shape)

    def call(self, module: nn.Module, segment: Segment, tensors: list[Tensor]):
        """The module's own call, with MXNet's shapes turned into the module's."""
        role = segment.module.rpartition(".")[2]
        if segment.kind == "pyramid_proposal":
            levels = len(tensors) // 2
            return module(tensors[:levels], tensors[levels:-1], tensors[-1], self.limits, self.draws)
        if segment.kind == "fpn_roi_pooling":
            return module(tensors[:-1], tensors[-1])
        if role == "proposal":
            return module(*tensors, self.limits, self.draws)
        if role == "proposal_target":
            return module(*tensors, self.draws)
        if role == "hard_rois":
            return module(tensors[0], tensors[1], _Samples(*tensors[2:]))
        if segment.module.startswith("rpn.softmax"):
            channels = module.classes * self.network.rpn.num_anchors
            grouped = tensors[0]
            return module(grouped.reshape(grouped.shape[0], channels, -1, grouped.shape[-1])).reshape(grouped.shape)
        if segment.op == "SoftmaxOutput" and not self.is_train:
            return module(tensors[0])  # its label is not read
        if segment.op == "SoftmaxOutput" and tensors[0].dim() == 4:
            return module(tensors[0].flatten(2), tensors[1].flatten(1))
        return module(*tensors)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> None:
        """The whole network's test forward."""
        if isinstance(self.network, DeepLab):
            self.network(self.tensor(inputs["data"]))
        else:
            self.network(self.tensor(inputs["data"]), self.tensor(inputs["im_info"]), self.draws)

    def chain(
        self,
        inputs: Mapping[str, np.ndarray],
        segments: Sequence[Segment],
        *,
        decisions: Mapping[str, np.ndarray] | None,
        grad: bool,
        sink: Sink,
    ) -> tuple[Arrays, object]:
        """The whole network; every segment's outputs go to `sink(key, array)` as they are computed.

        Args: decisions: to replay (torch_port.models.replay), or None to decide freely.
        Returns: gradients by MXNet's parameter name (where `grad`), and the replay's report or None.
        """
        with ExitStack() as stack:
            stack.enter_context(onednn(self.onednn))
            stack.enter_context(torch.set_grad_enabled(grad))
            report = stack.enter_context(replaying(self.network, decisions)) if decisions is not None else None
            for segment in segments:  # after the replay's hooks, so that these see what the replay made of an output
                handle = self.network.get_submodule(segment.module).register_forward_hook(_watch(segment, sink))
                stack.callback(handle.remove)
            if self.is_train:
                loss = self.network.forward_train(inputs, self.draws).loss
            else:
                self.infer(inputs)
            if not grad:
                return {}, report
            self.network.zero_grad()
            loss.backward()
        names = {
            name: path for segment in segments for name, path in zip(segment.parameters, segment.tensors, strict=True)
        }
        gradients = {name: array_of(self.network.get_parameter(path).grad) for name, path in names.items()}
        self.network.zero_grad()
        return gradients, report


@contextmanager
def onednn(enabled: bool) -> Iterator[None]:
    """torch.backends.mkldnn.flags, without touching its TF32 switch, which warns whenever it is set."""
    before, *_ = torch.backends.mkldnn.set_flags(enabled, _fp32_precision=None)
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(before, _fp32_precision=None)


@dataclass
class _Samples:
    """What HardRoISelector reads of a sample."""

    labels: Tensor
    bbox_targets: Tensor
    bbox_weights: Tensor


def outputs_of(result) -> list[Tensor]:
    """The tensors that stand for the node's outputs."""
    if isinstance(result, Tensor):
        return [result]
    if hasattr(result, "scalar"):
        return [result.output]
    return [each for each in result if each is not None]


def array_of(tensor: Tensor | None) -> np.ndarray:
    if tensor is None:
        raise RuntimeError("parity: a gradient that should be there is missing: the module does not use that input")
    return tensor.detach().cpu().numpy()


def _watch(segment: Segment, sink: Sink) -> Callable:
    def hook(module: nn.Module, args: tuple, result) -> None:
        for key, output in zip(segment.outputs, outputs_of(result), strict=True):
            sink(key, array_of(output))

    return hook
