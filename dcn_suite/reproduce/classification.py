"""Regular against deformable convolution under rotation and translation: one small network trained and scored in one framework."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from dcn_suite.reproduce.registry import Row
from dcn_tasks.classifier import ClassifierRecipe, ClassifierSpec
from dcn_tasks.data import read_cifar10, read_mnist
from dcn_tasks.distortion import Distortion, Normalisation, image_batches
from dcn_tasks.scoring import accuracy
from dcn_tasks.streams import Draws

Batches = Iterable[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Images:
    """uint8 [N, H, W] or [N, H, W, 3] and int64 [N] of training and test; `pixels`: which copy of the data this is."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    pixels: str

    @property
    def channels(self) -> int:
        return 1 if self.train[0].ndim == 3 else self.train[0].shape[3]

    @property
    def side(self) -> int:
        return self.train[0].shape[1]


@dataclass(frozen=True)
class Cell:
    """One network on one column of the table."""

    spec: ClassifierSpec
    recipe: ClassifierRecipe
    distortion: Distortion
    test_seed: int


def cell_of(row: Row, column: str, images: Images) -> Cell:
    """What the table's `setting` says about a row's network in a column."""
    setting = row.setting
    where = setting["columns"][column]
    network, recipe = setting["networks"][where["data"]][row.name], dict(setting["recipes"][where["data"]])
    recipe["drops"] = tuple(recipe["drops"])
    spec = ClassifierSpec(
        images.channels, tuple(network["widths"]), tuple(network["strides"]), tuple(network["deformable"])
    )
    return Cell(
        spec,
        ClassifierRecipe(**recipe),
        Distortion(where.get("degrees", 0.0), where.get("pixels", 0.0)),
        setting["test_seed"],
    )


def read_images(data: str, folder: Path) -> Images:
    """MNIST or CIFAR-10. Raises: InputError when it is neither there nor to be fetched."""
    if data == "mnist":
        return Images(read_mnist(folder, "train"), read_mnist(folder, "test"), "lossless")
    *train, pixels = read_cifar10(folder, "train")
    *test, _ = read_cifar10(folder, "test")
    return Images(tuple(train), tuple(test), pixels)


def run_cell(cell: Cell, images: Images, framework: str, seed: int, label: str = "") -> tuple[float, float, dict]:
    """Trains and scores one network.

    Returns: per cent of the test images named rightly, seconds of processor time, and details: number of parameters and
    updates, losses at the beginning and the end, which pixels.
    """
    started = time.process_time()
    normalisation = Normalisation.of(images.train[0])
    updates = cell.recipe.updates(len(images.train[0]))
    batches = image_batches(*images.train, cell.distortion, normalisation, batch_size=cell.recipe.batch_size, seed=seed)
    test = cell.distortion(images.test[0], Draws(cell.test_seed).generator("test"))
    trained = in_torch if framework == "torch" else in_mxnet
    losses, logits = trained(cell, shown(batches, updates, label), updates, seed, normalisation(test))
    details = {
        "parameters": cell.spec.parameters,
        "updates": updates,
        "first_loss": losses[0],
        "last_loss": float(np.mean(losses[-100:])),
        "pixels": images.pixels,
        "training_images": len(images.train[0]),
        "test_images": len(images.test[0]),
    }
    return round(accuracy(logits, images.test[1]), 4), time.process_time() - started, details


def shown(batches: Batches, updates: int, label: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches, with a bar on stderr where a label is given."""
    if not label:
        return iter(batches)
    return track(batches, label, total=updates, console=Console(stderr=True), transient=True)  # type: ignore[return-value]


def in_torch(cell: Cell, batches: Batches, updates: int, seed: int, test: np.ndarray) -> tuple[list[float], np.ndarray]:
    from torch_port.training.classify import classify, train_classifier
    from weights_convert.classifier import classifier_to_torch

    state = classifier_to_torch(cell.spec, *cell.spec.initial_arrays(seed))
    network, losses = train_classifier(cell.spec, state, batches, cell.recipe, updates=updates)
    return losses, classify(network, test)


def in_mxnet(cell: Cell, batches: Batches, updates: int, seed: int, test: np.ndarray) -> tuple[list[float], np.ndarray]:
    from mxnet_ref.classifier import classify, train_classifier

    arg, aux = cell.spec.initial_arrays(seed)
    arg, aux, losses = train_classifier(cell.spec, arg, aux, batches, cell.recipe, updates=updates, side=test.shape[-1])
    return losses, classify(cell.spec, arg, aux, test)
