"""Training with the original's conventions."""

from torch_port.training.checkpoint import Checkpoint, load_checkpoint, load_for_detection, restore, save_checkpoint
from torch_port.training.diagnose import first_nonfinite
from torch_port.training.loop import Step, Training, TrainingDiverged, shuffled, train
from torch_port.training.setup import training_for
from torch_port.training.sgd import SGD, parameter_groups

__all__ = [
    "SGD",
    "Checkpoint",
    "Step",
    "Training",
    "TrainingDiverged",
    "first_nonfinite",
    "load_checkpoint",
    "load_for_detection",
    "parameter_groups",
    "restore",
    "save_checkpoint",
    "shuffled",
    "train",
    "training_for",
]
