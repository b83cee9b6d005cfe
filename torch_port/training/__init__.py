"""Training with the original's conventions."""

from dcn_tasks.training_loop import TrainingDiverged
from torch_port.training.checkpoint import Checkpoint, load_checkpoint, load_for_detection, restore, save_checkpoint
from torch_port.training.diagnose import first_nonfinite
from torch_port.training.loop import Step, Training, shuffled, train
from torch_port.training.parallel import Parallel, parallel_for
from torch_port.training.setup import training_for
from torch_port.training.sgd import SGD, parameter_groups

__all__ = [
    "SGD",
    "Checkpoint",
    "Parallel",
    "Step",
    "Training",
    "TrainingDiverged",
    "first_nonfinite",
    "load_checkpoint",
    "load_for_detection",
    "parallel_for",
    "parameter_groups",
    "restore",
    "save_checkpoint",
    "shuffled",
    "train",
    "training_for",
]
