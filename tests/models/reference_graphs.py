"""The reference training graph as an executor that starts from a PyTorch network's weights; needs MXNet."""

import mxnet as mx
import numpy as np

from dcn_tasks.streams import Draws
from mxnet_ref import build_symbol
from mxnet_ref.operators.draws import set_draws
from weights_convert import to_mxnet


def fill(executor, params) -> None:
    """Puts the weights and moving statistics that the graph knows into an executor."""
    for here, arrays in ((executor.arg_dict, params.arg), (executor.aux_dict, params.aux)):
        for name, value in arrays.items():
            if name in here:
                here[name][:] = value


def reference_inference(cfg, state, inputs, draws: Draws) -> list[np.ndarray]:
    """Outputs of the test graph in float64: rois, cls_prob_reshape, bbox_pred_reshape."""
    symbol = build_symbol(cfg, False, dtype="float64")
    types = dict.fromkeys(symbol.list_arguments(), "float64")
    shapes = {name: array.shape for name, array in inputs.items()}
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", type_dict=types, **shapes)
    fill(executor, to_mxnet(state, cfg))
    set_draws(draws)
    arrays = {name: mx.nd.array(array, dtype="float64") for name, array in inputs.items()}
    return [output.asnumpy() for output in executor.forward(is_train=False, **arrays)]


class ReferenceTraining:
    """MXNet's side of a training in float64: forward, gradients, and updates by mx.optimizer.SGD.

    Args:
        cfg: configuration. state: state_dict of the PyTorch network. batch: gives the shapes of all later ones.
        lr: base learning rate; multipliers come from the graph's own lr_mult attributes.
    """

    def __init__(self, cfg, state, batch, lr):
        self.cfg = cfg
        self.symbol = build_symbol(cfg, True, dtype="float64")
        names = self.symbol.list_arguments()
        self.trained = [name for name in names if name not in batch and not self.is_fixed(name)]
        self.executor = self.symbol.simple_bind(
            mx.cpu(),
            grad_req={name: "write" if name in self.trained else "null" for name in names},
            type_dict=dict.fromkeys(names, "float64"),
            **{name: array.shape for name, array in batch.items()},
        )
        fill(self.executor, to_mxnet(state, cfg))
        optimizer = mx.optimizer.SGD(
            learning_rate=lr,
            momentum=cfg.TRAIN.momentum,
            wd=cfg.TRAIN.wd,
            rescale_grad=1.0,
            sym=self.symbol,
            param_idx2name=dict(enumerate(self.trained)),
        )
        self.optimizer, self.update = optimizer, mx.optimizer.get_updater(optimizer)

    def is_fixed(self, name):
        return any(piece in name for piece in self.cfg.network.FIXED_PARAMS)

    def step(self, batch, draws: Draws, lr: float) -> dict[str, np.ndarray]:
        """One update; the outputs of its forward by the names of dcn_tasks.training_metrics."""
        set_draws(draws)
        inputs = {name: mx.nd.array(array, dtype="float64") for name, array in batch.items()}
        outputs = self.executor.forward(is_train=True, **inputs)
        self.executor.backward()
        found = [output.asnumpy() for output in outputs]
        self.optimizer.set_learning_rate(lr)
        for index, name in enumerate(self.trained):
            self.update(index, self.executor.grad_dict[name], self.executor.arg_dict[name])
        return dict(zip(("rpn_cls_prob", "rpn_bbox_loss", "cls_prob", "bbox_loss", "label"), found, strict=True))

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights and moving statistics as they are now."""
        both = {**self.executor.arg_dict, **self.executor.aux_dict}
        return {name: array.asnumpy() for name, array in both.items()}
