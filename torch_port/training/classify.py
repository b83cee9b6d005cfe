"""Training and using the small classifier."""

from collections.abc import Iterable, Mapping
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from dcn_tasks.classifier import ClassifierRecipe, ClassifierSpec
from dcn_tasks.training_loop import TrainingDiverged
from torch_port.models.classifier import Classifier
from torch_port.training.sgd import SGD, parameter_groups

CHUNK = 500  # images of one forward pass in `classify`


def train_classifier(
    spec: ClassifierSpec,
    state: Mapping[str, Tensor],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    recipe: ClassifierRecipe,
    *,
    updates: int,
) -> tuple[Classifier, list[float]]:
    """Args: state: to start from. batches: images float32 [B, C, H, W], labels int64 [B]. updates: how many.

    Returns: the trained network in evaluation mode, and the mean cross entropy of every batch before its update.
    Raises: TrainingDiverged when a loss is not finite.
    """
    network = Classifier(spec)
    network.load_state_dict(state)
    network.train()
    schedule = recipe.schedule(updates)
    groups = parameter_groups(network, weight_decay=recipe.weight_decay)
    optimizer = SGD(groups, lr=schedule(1), momentum=recipe.momentum)
    losses = []
    for number, (images, labels) in enumerate(islice(batches, updates), 1):
        optimizer.set_lr(schedule(number))
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(network(torch.from_numpy(images)), torch.from_numpy(labels))
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise TrainingDiverged(f"classifier: expected a finite loss, got {losses[-1]} at update {number}: lower lr")
        loss.backward()
        optimizer.step()
    return network.eval(), losses


@torch.no_grad()
def classify(network: Classifier, images: np.ndarray) -> np.ndarray:
    """float32 [N, C, H, W] -> logits float32 [N, classes]."""
    chunks = [network(torch.from_numpy(images[first : first + CHUNK])) for first in range(0, len(images), CHUNK)]
    return torch.cat(chunks).numpy()
