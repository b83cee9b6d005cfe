"""The six numbers that the original prints while training (`core/metric.py`), from the training graph's outputs."""

from collections.abc import Mapping

import numpy as np

EPSILON = 1e-14


def accuracy(prob: np.ndarray, labels: np.ndarray) -> float:
    """prob: [N, C]; labels: [N], -1 = ignored."""
    kept = labels != -1
    return float((prob[kept].argmax(axis=1) == labels[kept]).mean()) if kept.any() else 0.0


def log_loss(prob: np.ndarray, labels: np.ndarray) -> float:
    """Mean -log p(label) over the labels that are not -1."""
    rows = np.flatnonzero(labels != -1)
    picked = prob[rows, labels[rows].astype(int)].astype(np.float64) + EPSILON
    return float(-np.log(picked).mean()) if len(rows) else 0.0


def l1_loss(loss: np.ndarray, labels: np.ndarray) -> float:
    """Sum of a map of losses over the number of labels that are not -1."""
    counted = int((labels != -1).sum())
    return float(loss.astype(np.float64).sum() / counted) if counted else 0.0


def rpn_metrics(outputs: Mapping[str, np.ndarray], rpn_label: np.ndarray) -> dict[str, float]:
    """RPNAcc, RPNLogLoss, RPNL1Loss, of two classes or of C. Args: as all_metrics; rpn_cls_prob [1, C, A*H, W]."""
    prob = outputs["rpn_cls_prob"]
    prob, labels = prob.reshape(prob.shape[1], -1).T, rpn_label.reshape(-1)
    return {
        "RPNAcc": accuracy(prob, labels),
        "RPNLogLoss": log_loss(prob, labels),
        "RPNL1Loss": l1_loss(outputs["rpn_bbox_loss"], labels),
    }


def all_metrics(outputs: Mapping[str, np.ndarray], rpn_label: np.ndarray) -> dict[str, float]:
    """RPNAcc, RPNLogLoss, RPNL1Loss, RCNNAcc, RCNNLogLoss, RCNNL1Loss.

    Args:
        outputs: of the training graph: rpn_cls_prob [1, 2, A*H, W], rpn_bbox_loss [1, 4A, H, W], cls_prob [1, R, C],
            bbox_loss [1, R, 4K], label [1, R]. The loss maps are not divided by anything: MakeLoss scales the gradient.
        rpn_label: [1, A*H*W]. The L1 losses are sums over the map divided by the number of labels that are not -1.
    """
    prob = outputs["cls_prob"].reshape(-1, outputs["cls_prob"].shape[-1])
    labels = outputs["label"].reshape(-1)
    return {
        **rpn_metrics(outputs, rpn_label),
        "RCNNAcc": accuracy(prob, labels),
        "RCNNLogLoss": log_loss(prob, labels),
        "RCNNL1Loss": l1_loss(outputs["bbox_loss"], labels),
    }
