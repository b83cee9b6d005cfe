"""Binding a graph on the CPU with parameters given as NumPy arrays, in float32 or float64."""

from collections.abc import Mapping, Sequence

import mxnet as mx
import numpy as np

from dcn_tasks.errors import InputError
from mxnet_ref.notices import without_binding_notices
from mxnet_ref.operators import raise_failure, with_cpu_backward

Arrays = dict[str, np.ndarray]
INPUTS = ("data", "im_info", "gt_boxes", "label", "bbox_target", "bbox_weight", "softmax_label")


def bind(
    symbol: mx.sym.Symbol,
    arg: Mapping[str, np.ndarray],
    aux: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    *,
    dtype: str = "float32",
    gradients: Sequence[str] = (),
) -> mx.executor.Executor:
    """An executor of the graph.

    Args:
        arg, aux, inputs: NumPy arrays by name; those that the graph does not use are left out.
        dtype: everything is cast to it; "float64" wants a graph built for it.
        gradients: arguments whose gradient backward() is to compute.
    Raises: InputError for a missing array.
    """
    values = {**arg, **inputs}
    names, states = symbol.list_arguments(), symbol.list_auxiliary_states()
    missing = [name for name in names if name not in values] + [name for name in states if name not in aux]
    if missing:
        raise InputError(f"bind: the graph needs {', '.join(missing)}: not among the parameters and inputs given")
    arrays = {name: mx.nd.array(values[name], dtype=dtype) for name in names}
    symbol = with_cpu_backward(symbol) if gradients else symbol
    with without_binding_notices():
        return symbol.bind(
            mx.cpu(),
            arrays,
            args_grad={name: mx.nd.zeros_like(arrays[name]) for name in gradients} or None,
            grad_req={name: "write" if name in gradients else "null" for name in names},
            aux_states={name: mx.nd.array(aux[name], dtype=dtype) for name in states},
        )


def run(executor: mx.executor.Executor, *, is_train: bool = False) -> list[np.ndarray]:
    """The outputs of one forward pass. Raises: what an operator of this package raised."""
    outputs = [output.asnumpy() for output in executor.forward(is_train=is_train)]
    raise_failure()
    return outputs


class BoundGraph:
    """A graph that is bound anew whenever its data changes size: images of one size share an executor.

    Args: symbol: built for `dtype`. arg, aux: parameters and states by name. dtype: "float32" or "float64".
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        arg: Mapping[str, np.ndarray],
        aux: Mapping[str, np.ndarray],
        *,
        dtype: str = "float32",
    ):
        self.symbol, self.dtype = symbol, dtype
        self.arg, self.aux = dict(arg), dict(aux)
        self.executor: mx.executor.Executor | None = None
        self.shapes: dict[str, tuple[int, ...]] = {}

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """One forward pass; inputs that the graph does not ask for are left out. Raises: InputError for a missing array."""
        shapes = {name: value.shape for name, value in inputs.items()}
        if self.executor is None or shapes != self.shapes:
            self.executor, self.shapes = bind(self.symbol, self.arg, self.aux, inputs, dtype=self.dtype), shapes
        for name, value in inputs.items():
            if name in self.executor.arg_dict:
                self.executor.arg_dict[name][:] = value
        return run(self.executor)


def outputs_of(
    symbol: mx.sym.Symbol,
    names: Sequence[str],
    arg: Mapping[str, np.ndarray],
    aux: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    *,
    is_train: bool = False,
    dtype: str = "float32",
) -> Arrays:
    """The first output of the named nodes, by name; only what they depend on is computed. Raises: as first_outputs."""
    heads = first_outputs(symbol, names)
    return dict(zip(names, run(bind(heads, arg, aux, inputs, dtype=dtype), is_train=is_train), strict=True))


def first_outputs(symbol: mx.sym.Symbol, names: Sequence[str]) -> mx.sym.Symbol:
    """The part of a graph that ends in the first outputs of the named nodes.

    Of two nodes of one name (bbox_pred_reshape in the original's test graphs), the first in the graph's order.
    Raises: InputError for a name that no node has.
    """
    internals = symbol.get_internals()
    listed = internals.list_outputs()
    outputs = [name if name in listed else f"{name}_output" for name in names]
    if unknown := [name for name in outputs if name not in listed]:
        raise InputError(f"first_outputs: the graph has no node for {', '.join(unknown)}")
    return mx.sym.Group([internals[listed.index(name)] for name in outputs])


def parameter_shapes(symbol: mx.sym.Symbol, inputs: Mapping[str, tuple[int, ...]]) -> tuple[dict, dict]:
    """Shapes of a graph's parameters and of its auxiliary states, by name, for given input shapes."""
    arg, _, aux = symbol.infer_shape(**inputs)
    shapes = dict(zip(symbol.list_arguments(), arg, strict=True))
    return (
        {name: shape for name, shape in shapes.items() if name not in INPUTS},
        dict(zip(symbol.list_auxiliary_states(), aux, strict=True)),
    )
