"""The small image classifier on MXNet's original operators: graph, training, use."""

from collections.abc import Iterable, Mapping
from itertools import islice

import mxnet as mx
import numpy as np

from dcn_tasks.classifier import KERNEL, OFFSETS, ClassifierRecipe, ClassifierSpec
from dcn_tasks.training_loop import TrainingDiverged
from mxnet_ref.executor import Arrays, BoundGraph
from mxnet_ref.notices import without_binding_notices
from mxnet_ref.trainer import Schedule

CHUNK = 500  # images of one forward pass in `classify`
DATA, LABEL = "data", "softmax_label"


def classifier_logits(spec: ClassifierSpec) -> mx.sym.Symbol:
    """data [N, C, H, W] -> logits [N, classes]."""
    node = mx.sym.Variable(DATA)
    for place, (width, stride) in enumerate(zip(spec.widths, spec.strides, strict=True)):
        name = f"conv{place + 1}"
        geometry = {"kernel": (KERNEL, KERNEL), "stride": (stride, stride), "pad": (KERNEL // 2, KERNEL // 2)}
        if place in spec.deformable:
            offset = mx.sym.Convolution(node, num_filter=OFFSETS, name=f"{name}_offset", **geometry)
            node = mx.sym.contrib.DeformableConvolution(
                data=node, offset=offset, num_filter=width, no_bias=True, num_deformable_group=1, name=name, **geometry
            )
        else:
            node = mx.sym.Convolution(node, num_filter=width, no_bias=True, name=name, **geometry)
        node = mx.sym.BatchNorm(node, fix_gamma=False, eps=1e-5, momentum=0.9, name=f"bn_{name}")
        node = mx.sym.Activation(node, act_type="relu", name=f"relu_{name}")
    node = mx.sym.Pooling(node, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")
    return mx.sym.FullyConnected(node, num_hidden=spec.num_classes, name="fc")


def train_classifier(
    spec: ClassifierSpec,
    arg: Mapping[str, np.ndarray],
    aux: Mapping[str, np.ndarray],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    recipe: ClassifierRecipe,
    *,
    updates: int,
    side: int,
) -> tuple[Arrays, Arrays, list[float]]:
    """Args: arg, aux: to start from. batches: images float32 [B, C, side, side], labels int64 [B]. updates: how many.

    Returns: (arg, aux) trained, and the mean cross entropy of every batch before its update.
    Raises: TrainingDiverged when a loss is not finite.
    """
    logits = classifier_logits(spec)
    symbol = mx.sym.SoftmaxOutput(logits, mx.sym.Variable(LABEL), normalization="batch", name="softmax")
    module = mx.mod.Module(symbol, data_names=[DATA], label_names=[LABEL], context=mx.cpu())
    shape = (recipe.batch_size, spec.in_channels, side, side)
    with without_binding_notices():
        module.bind([(DATA, shape)], [(LABEL, shape[:1])])
    module.init_params(
        arg_params={name: mx.nd.array(value) for name, value in arg.items()},
        aux_params={name: mx.nd.array(value) for name, value in aux.items()},
    )
    schedule = recipe.schedule(updates)
    settings = {"momentum": recipe.momentum, "wd": recipe.weight_decay, "rescale_grad": 1.0}
    settings |= {"learning_rate": schedule(1), "lr_scheduler": Schedule(schedule)}
    module.init_optimizer(kvstore=None, optimizer="sgd", optimizer_params=settings)
    losses = []
    for number, (images, labels) in enumerate(islice(batches, updates), 1):
        module.forward(mx.io.DataBatch([mx.nd.array(images)], [mx.nd.array(labels)]), is_train=True)
        chosen = module.get_outputs()[0].asnumpy()[np.arange(len(labels)), labels].astype(np.float64)
        losses.append(float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean()))
        if not np.isfinite(losses[-1]):
            raise TrainingDiverged(f"classifier: expected a finite loss, got {losses[-1]} at update {number}: lower lr")
        module.backward()
        module.update()
    mx.nd.waitall()  # BatchNorm's backward moves the statistics, and MXNet's engine doesn't know that
    arg, aux = module.get_params()
    return {k: v.asnumpy() for k, v in arg.items()}, {k: v.asnumpy() for k, v in aux.items()}, losses


def classify(
    spec: ClassifierSpec, arg: Mapping[str, np.ndarray], aux: Mapping[str, np.ndarray], images: np.ndarray
) -> np.ndarray:
    """float32 [N, C, H, W] -> logits float32 [N, classes]."""
    graph = BoundGraph(classifier_logits(spec), arg, aux)
    return np.concatenate(
        [graph.outputs({DATA: images[first : first + CHUNK]})[0] for first in range(0, len(images), CHUNK)]
    )
