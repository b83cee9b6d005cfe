"""What `dcn train` was asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """One training.

    config: name or path. framework: torch or mxnet. output: its folder. data: in place of dataset.dataset_path.
    resume: go on in the folder. restart_warmup: warm up again then, as the original does.
    weights: to start from. from_scratch: even where network.pretrained names something.
    seed: of initial values, orders, crops and samples. steps: updates in all; None: TRAIN.end_epoch epochs.
    images_per_update: over all processes; None: as many as the recipe has devices.
    workers: threads that prepare batches. skip_bad: whether an unreadable image is left out instead of ending the run.
    save_every: updates between two states to resume from.
    device, amp, channels_last: PyTorch's. progress: whether there is a bar.
    """

    config: str
    framework: str
    output: Path
    data: Path | None = None
    resume: bool = False
    restart_warmup: bool = False
    weights: Path | None = None
    from_scratch: bool = False
    seed: int = 0
    steps: int | None = None
    images_per_update: int | None = None
    workers: int = 1
    skip_bad: bool = False
    save_every: int = 500
    device: str | None = None
    amp: str | None = None
    channels_last: bool = False
    progress: bool = True
