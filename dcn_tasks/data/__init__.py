"""Data sets: readers over the official folder layouts, and the loader that makes training batches of them."""

from dcn_tasks.data.cifar import read_cifar10
from dcn_tasks.data.dataset import Dataset, ListedDataset, SceneDataset
from dcn_tasks.data.loader import LoadedImage, LoadedUpdate, Loader
from dcn_tasks.data.mnist import read_mnist
from dcn_tasks.data.open import open_dataset
from dcn_tasks.data.sample import Example, Sample

__all__ = [
    "Dataset",
    "Example",
    "ListedDataset",
    "LoadedImage",
    "LoadedUpdate",
    "Loader",
    "Sample",
    "SceneDataset",
    "open_dataset",
    "read_cifar10",
    "read_mnist",
]
