"""Loss heads: forward a plain activation; backward their own gradient, whatever comes from above, as in MXNet.

Without a label, or outside training, they are the activation with its ordinary derivative.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.registry import operator


class OwnGradient(torch.autograd.Function):
    """Hands `output` on; the gradient for data is `gradient`, not what comes from above, or `gradient` times that."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, output: Tensor, gradient: Tensor, times_above: bool) -> Tensor:
        ctx.save_for_backward(gradient)
        ctx.times_above = times_above
        return output.clone()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * above if ctx.times_above else gradient, None, None, None


def with_own_gradient(data: Tensor, output: Tensor, gradient: Tensor, times_above: bool = False) -> Tensor:
    return OwnGradient.apply(data, output.detach(), gradient.detach(), times_above)


def softmax_gradient(
    probability: Tensor, label: Tensor, ignore_label: float | None, smooth_alpha: float
) -> tuple[Tensor, Tensor]:
    """[N, K, M] probabilities minus [N, M] labels as (smoothed) one-hot, 0 where ignored; and how many labels count."""
    classes = probability.shape[1]
    hot = F.one_hot(label.long().clamp(0, classes - 1), classes).movedim(-1, 1).to(probability.dtype)
    if smooth_alpha:
        hot = hot * (1 - smooth_alpha) + (1 - hot) * (smooth_alpha / (classes - 1))
    counted = torch.ones_like(label, dtype=torch.bool) if ignore_label is None else label.long() != int(ignore_label)
    return (probability - hot) * counted.unsqueeze(1), counted.sum().clamp(min=1)


@operator("SoftmaxOutput", "Softmax")
def softmax_output(
    data: Tensor,
    label: Tensor | None = None,
    *,
    grad_scale: Single = 1.0,
    ignore_label: Single = -1.0,
    multi_output: bool = False,
    use_ignore: bool = False,
    preserve_shape: bool = False,
    normalization: str = "null",
    out_grad: bool = False,
    smooth_alpha: Single = 0.0,
    training: bool = False,
) -> Tensor:
    """Softmax of all but the first axis, of axis 1 (multi_output) or the last (preserve_shape); gradient of cross-entropy.

    With out_grad times the gradient from above, as documented (MXNet 1.9.1 takes the output for it); with multi_output
    nothing is smoothed.
    """
    rows = data if multi_output else data.reshape(-1, data.shape[-1]) if preserve_shape else data.flatten(1)
    output = torch.softmax(rows, 1)
    if label is None or not training:
        return output.reshape(data.shape)
    probability = output.reshape(output.shape[0], output.shape[1], -1)
    if label.numel() == data.numel():
        gradient = (probability - label.reshape(probability.shape)) * grad_scale
        return with_own_gradient(data, output.reshape(data.shape), gradient.reshape(data.shape), out_grad)
    labels = label.reshape(probability.shape[0], -1)
    smooth = 0.0 if multi_output else smooth_alpha
    gradient, counted = softmax_gradient(probability, labels, ignore_label if use_ignore else None, smooth)
    scale = grad_scale / probability.shape[2] if normalization != "valid" else grad_scale
    if normalization == "batch":
        scale = scale / label.shape[0]
    gradient = gradient * scale / counted if normalization == "valid" else gradient * scale
    return with_own_gradient(data, output.reshape(data.shape), gradient.reshape(data.shape), out_grad)


def regression(data: Tensor, output: Tensor, label: Tensor | None, error: Tensor | None, scale: float) -> Tensor:
    if label is None or error is None:
        return output
    per_row = label.numel() // label.shape[0]
    return with_own_gradient(data, output, (error * (scale / per_row)).reshape(data.shape))


@operator("LinearRegressionOutput")
def linear_regression_output(
    data: Tensor, label: Tensor | None = None, *, grad_scale: Single = 1.0, training: bool = False
) -> Tensor:
    """The same; gradient (x - label) * grad_scale / (label's elements a row)."""
    error = data - label.reshape(data.shape) if training and label is not None else None
    return regression(data, data, label, error, grad_scale)


@operator("MAERegressionOutput")
def mae_regression_output(
    data: Tensor, label: Tensor | None = None, *, grad_scale: Single = 1.0, training: bool = False
) -> Tensor:
    """The same; gradient sign(x - label) * grad_scale / (label's elements a row)."""
    error = torch.sign(data - label.reshape(data.shape)) if training and label is not None else None
    return regression(data, data, label, error, grad_scale)


@operator("LogisticRegressionOutput")
def logistic_regression_output(
    data: Tensor, label: Tensor | None = None, *, grad_scale: Single = 1.0, training: bool = False
) -> Tensor:
    """Sigmoid; gradient (sigmoid(x) - label) * grad_scale / (label's elements a row)."""
    output = torch.sigmoid(data)
    error = output - label.reshape(data.shape) if training and label is not None else None
    return regression(data, output, label, error, grad_scale)


@operator("SVMOutput")
def svm_output(
    data: Tensor,
    label: Tensor | None = None,
    *,
    margin: Single = 1.0,
    regularization_coefficient: Single = 1.0,
    use_linear: bool = False,
    training: bool = False,
) -> Tensor:
    """The same; gradient of the squared (or, with use_linear, plain) hinge loss of each class against the others."""
    if label is None or not training:
        return data
    side = 2.0 * F.one_hot(label.long(), data.shape[1]).to(data.dtype) - 1
    room = (margin - side * data).clamp(min=0)
    slope = (room > 0).to(data.dtype) if use_linear else 2 * room
    return with_own_gradient(data, data, -regularization_coefficient * side * slope)


@operator("MakeLoss")
def make_loss_scaled(
    data: Tensor,
    *,
    grad_scale: Single = 1.0,
    valid_thresh: Single = 0.0,
    normalization: str = "null",
    training: bool = False,
) -> Tensor:
    """The same; gradient grad_scale, over the batch size or the number of elements above valid_thresh if asked for."""
    if not training:
        return data
    gradient = torch.full_like(data, grad_scale)
    if normalization == "batch":
        gradient = gradient / data.shape[0]
    elif normalization == "valid":
        gradient = gradient / (data > valid_thresh).sum().clamp(min=1)
    return with_own_gradient(data, data, gradient)


@operator("make_loss")
def make_loss(data: Tensor, *, training: bool = False) -> Tensor:
    """The same; gradient 1."""
    return with_own_gradient(data, data, torch.ones_like(data)) if training else data


@operator("IdentityAttachKLSparseReg")
def identity_attach_kl_sparse_reg(
    data: Tensor,
    moving_avg: Tensor,
    *,
    sparseness_target: float = 0.1,
    penalty: float = 0.001,
    momentum: float = 0.9,
    training: bool = False,
) -> Tensor:
    """The same. Its regularising gradient is not translated: training without it is another training."""
    if training:
        raise ValueError("IdentityAttachKLSparseReg: its gradient is not translated; call .eval(), or cut the node out")
    return data


@operator("CTCLoss", "ctc_loss", "_contrib_CTCLoss", "_contrib_ctc_loss")
def ctc_loss(
    data: Tensor,
    label: Tensor,
    data_lengths: Tensor | None = None,
    label_lengths: Tensor | None = None,
    *,
    use_data_lengths: bool = False,
    use_label_lengths: bool = False,
    blank_label: str = "first",
) -> Tensor:
    """[T, N, K] activations and [N, L] labels -> [N] negative log likelihoods; blank is class 0 (first) or K-1 (last)."""
    steps, batch, classes = data.shape
    if label_lengths is None and data_lengths is not None and use_label_lengths and not use_data_lengths:
        data_lengths, label_lengths = None, data_lengths
    padding = 0 if blank_label == "first" else -1
    lengths = label_lengths.long() if use_label_lengths else (label != padding).long().cumprod(1).sum(1)
    times = data_lengths.long() if use_data_lengths else torch.full((batch,), steps, dtype=torch.long)
    blank = 0 if blank_label == "first" else classes - 1
    return F.ctc_loss(torch.log_softmax(data, 2), label.long().clamp(min=0), times, lengths, blank, "none")


@operator("softmax_cross_entropy")
def softmax_cross_entropy(data: Tensor, label: Tensor) -> Tensor:
    """Sum over the batch of the cross-entropies, shape [1]."""
    return F.cross_entropy(data, label.long(), reduction="sum").reshape(1)
